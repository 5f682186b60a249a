#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/replay/guest.h"
#include "engine/replay/replayer.h"

namespace rchk::target {

// A copy of the guest that the debugger may change and run, and that is thrown away: for
// expressions that call functions, and for what-if experiments. It has no log to go by: system
// calls that only concern its own memory are carried out, output goes to the user, clocks and
// process numbers say what they did, and all others fail with ENOSYS. Its other threads do not run.
// The recording never changes.
class Diversion {
 public:
  // `unix_ns`, `monotonic_ns`: what the clocks say, all along.
  Diversion(replay::Replayer& replayer, replay::Guest guest, int64_t unix_ns, int64_t monotonic_ns)
      : replayer_(replayer),
        guest_(std::move(guest)),
        original_(guest_.registers),
        unix_ns_(unix_ns),
        monotonic_ns_(monotonic_ns) {}

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

  // Whether the debugger has changed memory that nothing has run with yet.
  bool is_changed() const { return changed_; }
  Result<void> write_memory(GuestAddress address, ByteView bytes) {
    changed_ = true;
    return guest_.puppet->write_memory(address, bytes);
  }

  enum class End : uint8_t { kBreakpoint, kWatchpoint, kStepped, kSignal, kExit, kInterrupted };
  struct Outcome {
    End end = End::kStepped;
    GuestAddress breakpoint{};  // kBreakpoint
    int signal = 0;             // kSignal
    int status = 0;             // kExit
    uint32_t watch = 0;         // kWatchpoint: which of Command::watchpoints
  };
  struct Command {
    bool single_step = false;
    std::vector<GuestAddress> breakpoints;
    std::vector<translate::Watchpoint> watchpoints;
    std::function<bool()> interrupted;
    std::function<void(std::string_view)> console;
  };
  Result<Outcome> run(const Command& command);

 private:
  // Whether it is about to run a function that the debugger calls: that returns to a breakpoint.
  bool is_called(const Command& command) const;
  Result<void> skip_trapped();
  // Carries the system call out at which the guest stands. Nothing if the guest goes on.
  Result<std::optional<Outcome>> system_call(const Command& command);
  Result<int64_t> answer(const Command& command, std::optional<Outcome>& end);
  int64_t write(const Command& command);
  Result<int64_t> map();
  Result<int64_t> protect();
  int64_t wait_or_wake(const Command& command, std::optional<Outcome>& end);
  int64_t raise(int signal, std::optional<Outcome>& end);
  int64_t tell_time(uint64_t clock, GuestAddress at, int64_t units_per_second);
  // Nothing is stored at address 0.
  int64_t store(GuestAddress at, ByteView bytes);

  replay::Replayer& replayer_;
  replay::Guest guest_;
  Registers original_;
  int64_t unix_ns_, monotonic_ns_;
  bool changed_ = false, told_ = false;
};

}  // namespace rchk::target
