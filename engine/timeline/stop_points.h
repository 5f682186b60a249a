#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/registers.h"
#include "base/types.h"
#include "engine/timeline/kin.h"
#include "engine/translate/engine.h"

namespace rchk::timeline {

// Copies guest memory; returns how many bytes were readable.
using ReadMemory = std::function<size_t(GuestAddress, std::span<uint8_t>)>;
// Whether a hit counts, told from the state at it. Empty: always.
using Condition = std::function<bool(const Registers&, const ReadMemory&)>;

struct Breakpoint {
  GuestAddress address;
  Condition condition;
};

struct Watch {
  AddressRange range;
  translate::WatchKind kind = translate::WatchKind::kWrite;
  Condition condition;
};

// What a run stops at; stops name them by their indexes.
struct StopPoints {
  std::vector<Breakpoint> breakpoints;
  std::vector<Watch> watches;
  // Signals that pass without a stop: bit 0 is signal 1.
  uint64_t quiet_signals = 0;
  // System calls that stop a run where they begin and where they return: none when null, all when
  // empty.
  std::optional<std::vector<int>> syscalls;
  // Which processes that are made stop a run forward, and which vforks that return: none when null.
  std::function<bool(const Fork&)> forks, vforks_done;

  bool is_quiet(int signal) const {
    return signal > 0 && signal <= 64 && (quiet_signals >> (signal - 1) & 1) != 0;
  }
  // Whether there are events at which a run stops, other than execs.
  bool stops_at_events() const { return quiet_signals != ~uint64_t{0} || syscalls; }
  bool catches(int syscall) const {
    return syscalls && (syscalls->empty() ||
                        std::find(syscalls->begin(), syscalls->end(), syscall) != syscalls->end());
  }
  bool conditional() const {
    for (const Breakpoint& point : breakpoints) {
      if (point.condition) return true;
    }
    for (const Watch& watch : watches) {
      if (watch.condition) return true;
    }
    return false;
  }
  translate::Probes probes(translate::HitPolicy policy) const {
    translate::Probes result;
    for (const Breakpoint& point : breakpoints) result.breakpoints.push_back(point.address);
    for (const Watch& watch : watches) result.watchpoints.push_back({watch.range, watch.kind});
    result.policy = policy;
    return result;
  }
};

enum class StopKind : uint8_t {
  kBreakpoint,
  kWatchpoint,
  kStepped,
  kSignal,         // `number`: the signal that is about to arrive
  kSyscallEntry,   // `number`: the system call that is about to be made
  kSyscallReturn,  // `number`: the system call that has returned
  kExec,           // `text`: the program that runs from here on; going back, that ran up to here
  kFork,           // `number`: the pid of the child that was made
  kVfork,          // the same; the child uses the process's memory
  kVforkDone,      // `number`: the pid of a child of vfork that does so no more
  kHistoryBegin,
  kHistoryEnd,  // of a recording
  kExiting,     // the guest is about to end; `text` says how
  kInterrupted,
  kUnsupported,  // `text` says why it cannot go on from here
};

struct TimelineStop {
  StopKind kind = StopKind::kStepped;
  uint32_t index = 0;  // of the breakpoint or watch
  int number = 0;
  std::string text;
  Tid task;  // the one that it happened to
};

enum class RunKind : uint8_t { kContinue, kStep, kRangeStep };

struct RunCommand {
  RunKind kind = RunKind::kContinue;
  AddressRange range;  // kRangeStep: go on while pc is in it
  // Asked now and then: true makes the run stop soon.
  std::function<bool()> interrupted;
  int signal = 0;  // live only: to be delivered first
  // The one to step; 0: the one that runs. Others run meanwhile, as the log says.
  Tid task;
  bool alone = false;  // live only: others do not
  // Go no further than behind this event: the run then ends as if the history did, with kHistoryEnd
  // or kHistoryBegin.
  std::optional<EventNumber> until;
  // A breakpoint at the pc that it starts from counts: a run goes on that such a bound ended.
  bool goes_on = false;
};

}  // namespace rchk::timeline
