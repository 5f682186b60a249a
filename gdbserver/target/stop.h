#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/registers.h"
#include "base/types.h"

// How a debuggee is resumed, what may stop it, and why it did: plain values.
namespace rchk::target {

// A stopped thread's registers and memory, as conditions see them.
class MachineView {
 public:
  virtual ~MachineView() = default;
  virtual const Registers& registers() const = 0;
  // Copies memory, and returns how many bytes from `address` on were readable.
  virtual size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) const = 0;
};

// Whether a stop is to be reported. Cannot fail: what cannot be evaluated holds, and the
// debugger evaluates it again.
using Condition = std::function<bool(const MachineView&)>;

enum class StopPointKind : uint8_t {
  kSoftwareBreakpoint,
  kHardwareBreakpoint,
  kWriteWatchpoint,   // a store that changed a watched byte
  kReadWatchpoint,    // a load of a watched byte
  kAccessWatchpoint,  // a load or a store, changed or not
};

constexpr bool is_breakpoint(StopPointKind kind) {
  return kind == StopPointKind::kSoftwareBreakpoint || kind == StopPointKind::kHardwareBreakpoint;
}

struct StopPoint {
  StopPointKind kind = StopPointKind::kSoftwareBreakpoint;
  AddressRange range;  // of a breakpoint: one byte; of a watchpoint: any length
  // The target stops where one of these holds, or always when there is none.
  std::vector<Condition> conditions;

  bool stops_at(const MachineView& machine) const {
    if (conditions.empty()) return true;
    for (const Condition& condition : conditions) {
      if (condition(machine)) return true;
    }
    return false;
  }
};

enum class Direction : uint8_t { kForward, kBackward };

enum class ResumeKind : uint8_t {
  kContinue,
  kStep,       // one instruction
  kRangeStep,  // steps until pc is outside of `range`; something else may stop it before
};

// A breakpoint at the pc that a resume starts from does not count, in either direction.
// Backward, kRangeStep steps back as long as the instruction stepped to is inside of `range`, and
// stops at the first state, going back, whose pc is outside.
struct ResumeRequest {
  Direction direction = Direction::kForward;
  ResumeKind kind = ResumeKind::kContinue;
  Tid thread;  // the one to step
  // No other thread may run. A replay goes by its log and runs all, but stops for this one alone.
  bool alone = false;
  AddressRange range;  // kRangeStep
  int signal = 0;      // to deliver first; 0 for none. A replay goes by its log and ignores it.
};

struct BreakpointHit {  // pc exactly at the breakpoint, in both directions
  StopPointKind kind = StopPointKind::kSoftwareBreakpoint;
  bool operator==(const BreakpointHit&) const = default;
};
// Forward: pc behind the accessing instruction. Backward: pc at it, memory as before it.
struct WatchpointHit {
  StopPointKind kind = StopPointKind::kWriteWatchpoint;
  GuestAddress address;  // inside of the watchpoint's range
  bool operator==(const WatchpointHit&) const = default;
};
struct StepDone {
  bool operator==(const StepDone&) const = default;
};
struct HistoryBegin {
  bool operator==(const HistoryBegin&) const = default;
};
struct HistoryEnd {
  bool operator==(const HistoryEnd&) const = default;
};
struct SignalStop {
  int signal = 0;
  bool operator==(const SignalStop&) const = default;
};
struct Interrupted {
  bool operator==(const Interrupted&) const = default;
};
struct SyscallStop {
  int number = 0;
  bool is_return = false;
  bool operator==(const SyscallStop&) const = default;
};
struct Exec {
  std::string path;
  bool operator==(const Exec&) const = default;
};
// The process has made another one, which is one of the session's from now on (Family::detach).
struct Forked {
  Tid child;           // its pid, and the tid of its one thread
  bool vfork = false;  // the child uses the process's memory until it executes a program or ends
  bool operator==(const Forked&) const = default;
};
// A child of vfork that was reported uses the process's memory no more.
struct VforkDone {
  bool operator==(const VforkDone&) const = default;
};
// The program is about to exit or to be killed, and stands at its last instruction. The session
// goes on: it can go back from here. Shown to the user: `status_text`, one line without its end.
struct Exiting {
  std::string status_text;
  bool operator==(const Exiting&) const = default;
};
// The program is gone for good: the session cannot go on.
struct Exited {
  int status = 0;  // exit status when `signal` is 0
  int signal = 0;
  bool operator==(const Exited&) const = default;
};
// The target cannot go on from here for a reason of its own, which the user is shown.
struct Unsupported {
  std::string reason;
  bool operator==(const Unsupported&) const = default;
};

using StopEvent =
    std::variant<BreakpointHit, WatchpointHit, StepDone, HistoryBegin, HistoryEnd, SignalStop,
                 Interrupted, SyscallStop, Exec, Forked, VforkDone, Exiting, Exited, Unsupported>;

struct Stop {
  Tid thread;  // the one that it happened to; the debugger makes it the current one
  StopEvent event;
  Tid process{};  // of that thread; 0: of the target that says so
  bool operator==(const Stop&) const = default;
};

}  // namespace rchk::target
