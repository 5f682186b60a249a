#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/replay/guest.h"
#include "engine/replay/replayer.h"

namespace rchk::target {

// A copy of the guest that the debugger may change and run, and that is thrown away: for
// expressions that call functions, and for what-if experiments. It has no log to go by: system
// calls that only concern its own memory are carried out, output goes to the user, and all
// others fail with ENOSYS. The recording never changes.
class Diversion {
 public:
  Diversion(replay::Replayer& replayer, replay::Guest guest)
      : replayer_(replayer), guest_(std::move(guest)), original_(guest_.registers) {}

  replay::Guest& guest() { return guest_; }
  // Makes another thread the one that runs. REQUIRES: there is such a thread.
  Result<void> choose(Tid thread) {
    if (thread == guest_.tid) return {};
    RCHK_TRY(guest_.switch_to(thread));
    original_ = guest_.registers;
    return {};
  }
  // False once the debugger has put the registers back: then the detour is over.
  bool is_under_way() const { return !same_guest_state(original_, guest_.registers); }

  enum class End : uint8_t { kBreakpoint, kStepped, kSignal, kExit, kInterrupted };
  struct Outcome {
    End end = End::kStepped;
    GuestAddress breakpoint;
    int signal = 0;
  };
  struct Command {
    bool single_step = false;
    std::vector<GuestAddress> breakpoints;
    std::function<bool()> interrupted;
    std::function<void(std::string_view)> console;
  };
  Result<Outcome> run(const Command& command);

 private:
  Result<void> skip_trapped();
  // Carries the system call out at which the guest stands. True if it ends the guest.
  Result<bool> system_call(const Command& command);

  replay::Replayer& replayer_;
  replay::Guest guest_;
  Registers original_;
};

}  // namespace rchk::target
