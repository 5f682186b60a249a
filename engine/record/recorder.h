#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <signal.h>

#include "base/probe.h"
#include "base/registers.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/record/breakpoints.h"
#include "engine/trace/source.h"
#include "engine/tracee/tracee.h"
#include "snapshot/address_space.h"
#include "snapshot/dirty_tracker.h"

namespace rchk::record {

struct RecorderOptions {
  // What to run. An empty `cpu` lets the recorder choose the core; it pins the calling thread to it
  // as well, because a stop costs 3 us on one core and 70 across two.
  tracee::SpawnOptions program;
  // At least so much time between two ChecksumEvents; 0 for none.
  std::chrono::milliseconds checksum_interval{5000};
  // They may take one part in so many of the time; 0: any.
  uint64_t checksum_share = 100;
  // Page snapshots are taken so often that they cost at most this part of the time; 0: none.
  double snapshot_overhead_percent = 0;
  // Those of one memory make the recording grow by no more than this; 0: any.
  uint64_t snapshot_bytes_per_second = 0;
  // What they take beside the program's own time (the recording's size, another core) keeps them no
  // further apart than this.
  std::chrono::milliseconds longest_snapshot_interval{2000};
  // How changed pages are told; without it, in the best way that works here.
  std::optional<snapshot::TrackerKind> dirty_tracker;
  // At least so far apart, and the first one so late. Without it, some 100 ms.
  std::optional<std::chrono::milliseconds> snapshot_interval;
  // Lets calls that read the clock be made without a stop in a program that has made so many
  // (docs/notes/agent.md). Not for a debugger's live session: nothing could stop at them.
  std::optional<uint32_t> agent_after;
  // Patches RDTSC and RDTSCP even where they can be made to trap; and CPUID where that cannot.
  bool patch_counter = false;
  // Makes time slices, and the choice of who runs next, random.
  std::optional<uint64_t> chaos_seed;
  // Told once about each thing that is not recorded as it should be. A whole sentence.
  std::function<void(std::string_view)> message;
};

// When to come back from run(), besides the guest's end.
struct RunLimits {
  bool single_step = false;         // after one instruction
  pid_t task = 0;                   // the one to step; 0: the one that stopped last
  bool alone = false;               // other threads of its process do not run meanwhile
  bool stop_at_breakpoints = true;  // and at watchpoints
  bool stop_at_signals = false;     // before the guest gets a signal that is fatal or handled
  bool stop_before_exit = false;    // before exit_group, or a fatal signal, ends the first process
  // Signals that are passed on without a stop: bit 0 is signal 1.
  uint64_t quiet_signals = 0;
  // Which system calls of the first process to stop at, before and behind; null: none.
  std::function<bool(int)> catches_syscall;
  bool stop_at_exec = false;  // by the first process
  // Where the first process has made another one, and where a vfork of its returns.
  bool stop_at_forks = false;
  // Called before the process that runs is forked, by itself or by the recorder: for a dirty
  // tracker (snapshot/dirty_tracker.h, about_to_fork()).
  std::function<void()> before_fork;
  // Asked every few milliseconds while the guest runs, from run()'s own thread.
  std::function<bool()> interrupt_requested;
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

enum class StopCause : uint8_t {
  kBreakpoint,  // pc at the breakpoint `address`; its instruction has not run
  kWatchpoint,  // the watchpoint at `address` changed, or was accessed
  kStepped,
  kInterrupted,  // asked for, or the deadline passed while the first process runs; inside of a
                 // system call only where the first process waits in one, and others run
  kSignal,  // `signal` is about to be delivered. The event of a fatal one is in the log already;
            // that of one with a handler comes when the guest runs on
  kSyscallEntry,   // the system call `number` is about to be made
  kSyscallReturn,  // the system call `number` has returned
  kExec,           // the first process runs another program, and stands at its start
  kForked,         // has made the process `child`, which uses its memory if `vfork`: it then waits
                   // in the call
  kVforkDone,      // the call has returned that made the process `child`
  kAboutToExit,    // `status` as it is going to be; memory is still there
  kExited,         // all are gone; the log is complete
  kRecordingStopped,  // the guest runs on by itself; see wait_for_guest()
};

struct RecorderStop {
  StopCause cause = StopCause::kStepped;
  GuestAddress address{};    // kBreakpoint, kWatchpoint
  int number = 0;            // kSyscallEntry, kSyscallReturn
  int signal = 0;            // kSignal; kAboutToExit and kExited if killed by one
  int status = 0;            // exit status; kAboutToExit and kExited if not killed
  bool core_dumped = false;  // kExited
  pid_t child = 0;           // kForked, kVforkDone
  bool vfork = false;        // kForked
  std::string message{};     // kRecordingStopped: why
};

// Another task of a process of which a snapshot was taken.
struct OtherTask {
  Tid tid;
  Registers registers;           // at the system call instruction, for one that is in a call
  ExtendedState extended_state;  // empty if the task was in a call before the first snapshot
};

// A forked copy of a process that does not run, to start a replay from.
struct ForkSnapshot {
  // Has the guest's descriptors, and its shared memory in common with it: whoever uses it is to do
  // something about both.
  tracee::Tracee process;
  GuestAddress gadget;  // a `syscall` instruction in it
  Tid tid;              // of the task that the recorder was stopped in
  Registers registers;
  ExtendedState extended_state;
  std::vector<OtherTask> others;  // that use the same memory
  snapshot::AddressSpace space;
};

// Runs a program natively and records it, with all threads and processes that it starts
// (docs/notes/tasks.md). What a guest does that cannot be recorded ends the recording, not the
// guest.
//
// Breakpoints and watchpoints are those of the first process, in all its threads. A stop is of one
// task: what is asked of registers, memory and mappings is about that one.
//
// All calls come from the thread that called start(): ptrace knows only that one. Between calls the
// guest is stopped, outside of any system call unless waits(), and its memory is its own: no
// breakpoint is in it. Debugger stops leave no trace in the log.
class Recorder {
 public:
  // What a recording with these options is to say of itself and of this machine, the core included
  // that start() will choose if it is called by the same process.
  static trace::RecordingInfo describe(const RecorderOptions& options);

  // Starts the program, stops it at its first instruction and writes event 0. `sink` must outlive
  // the recorder. Errors: as Tracee::spawn(), and the sink's.
  static Result<std::unique_ptr<Recorder>> start(RecorderOptions options, trace::EventSink& sink);
  // A guest that is still being recorded is killed.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Lets the guest run on. Behind kExited and kRecordingStopped it says the same again. An error
  // means that the recording cannot go on; the guest has been let go where that was possible.
  Result<RecorderStop> run(const RunLimits& limits);

  // Ends the recording now and lets the guest run on by itself.
  Result<RecorderStop> stop_recording(std::string_view reason);
  // After kRecordingStopped: waits for the guest's end.
  Result<tracee::StopStatus> wait_for_guest();

  // A breakpoint may stand anywhere; one whose memory is not mapped has no effect until it is.
  Result<void> insert_breakpoint(GuestAddress address);
  Result<void> remove_breakpoint(GuestAddress address);
  // kUnsupported when the debug registers cannot do it.
  Result<void> insert_watchpoint(const HardwareWatchpoint& watchpoint);
  Result<void> remove_watchpoint(const HardwareWatchpoint& watchpoint);

  // The state of the stopped guest. After its end: kGone.
  Result<Registers> registers() const;
  Result<ExtendedState> extended_state() const;
  size_t read_memory(GuestAddress address, std::span<uint8_t> bytes) const;
  const snapshot::AddressSpace& address_space() const;
  // Events in the log; the last of them has been applied to the guest.
  uint64_t event_count() const;
  pid_t pid() const;  // of the process that stopped; the first one's behind the end
  Tid tid() const;    // of the task that stopped

  // True if that task waits in a system call. Its registers are those before it, and no snapshot
  // can be taken.
  bool waits() const;

  // True if that task has run no instruction since its last event.
  bool stands_at_event() const;
  // The signal that the task has stopped at.
  std::optional<siginfo_t> signal_info() const;

  // The tasks that use the memory of the one that stopped, which comes first. The others are as a
  // replay shows them here: one in a call at its instruction, any other behind its last event.
  std::vector<Tid> tasks() const;
  Result<Registers> registers(Tid task) const;
  Result<ExtendedState> extended_state(Tid task) const;

  // Writes the events of other tasks' calls that have come to their end: what these stored is in
  // memory already. True if there was one. To be called until there is none, before and behind a
  // snapshot that is to have a place among the events.
  Result<bool> log_ended_calls();
  // Leaves the guest as it is.
  Result<ForkSnapshot> fork_snapshot();

 private:
  class Impl;
  explicit Recorder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Whether a guest can have an agent where rchk runs.
ProbeResult probe_agent();

}  // namespace rchk::record
