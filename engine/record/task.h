#pragma once

#include <algorithm>
#include <csignal>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>
#include <vector>

#include <linux/seccomp.h>

#include "engine/record/agent.h"
#include "engine/record/breakpoints.h"
#include "engine/record/contention.h"
#include "engine/record/image.h"
#include "engine/record/memory_changes.h"
#include "engine/record/output_streams.h"
#include "engine/record/own_places.h"
#include "engine/record/process.h"
#include "engine/record/scratch.h"
#include "engine/record/snapshot_pace.h"
#include "engine/syscalls/outputs.h"
#include "engine/syscalls/seccomp.h"
#include "engine/trace/event.h"
#include "engine/tracee/tracee.h"
#include "snapshot/dirty_tracker.h"

namespace rchk::record {

inline constexpr uint64_t kNoCall = ~0ull;  // orig_rax outside of system calls

// A system call between its entry and its exit.
struct PendingCall {
  Registers before;  // as SyscallEvent::before
  syscalls::EntryState entry;
  // The call does not reach the kernel, and the guest gets this result.
  std::optional<int64_t> answer;
  bool breakpoints_were_in = false;
  bool at_entry = false;  // the task is still in its entry stop
  // The entry stop took the place of an interrupt, but the call finds the kernel's mark of one
  // (TIF_SIGPENDING), and some then return EINTR.
  bool disturbed = false;

  // For a call that was interrupted and is made again, unnoticed by the guest: the registers that
  // it is made again with, and a time-out in the guest's memory that is shorter meanwhile.
  bool continued = false;
  Registers again;
  uint64_t entered_ns = 0;
  std::optional<trace::MemoryWrite> time_out;  // the guest's own
  // What is where a sleep that is interrupted says how long it had to go on.
  std::optional<trace::MemoryWrite> remainder;

  // All that the call may change, where nothing says what it does.
  std::optional<std::vector<trace::PageContents>> pages_before;

  // It stores where others may look, and waits for a disk alone: nobody runs meanwhile.
  bool holds_processor = false;
  // It stores there, and not in the guest's buffers.
  std::optional<ScratchUse> scratch;

  // Of an execve: where the kernel writes when it leaves this memory, which others go on using.
  std::vector<AddressRange> words_left;

  // What is in the log already of what it has stored, though it goes on waiting for more.
  std::vector<trace::MemoryWrite> told;

  // The new task that it has made, whose SpawnEvent comes behind the call's own.
  pid_t spawned = -1;
  pid_t vforked = 0;  // a process that the call has made, and waits for
  // A filter of the guest's keeps it from being made, and raises this behind it.
  std::optional<siginfo_t> trap;
  bool trap_kills = false;  // whatever the guest has set for the signal
};

// A call that a signal with a handler ended. Whether the guest sees EINTR, or the call is made anew
// behind the handler, shows at the handler's entry.
struct InterruptedCall {
  PendingCall call;
  trace::SyscallEvent event;  // as it is if the guest sees it
};

// A process's memory at some time, to tell what changed since: a fork that does not run.
struct Reference {
  tracee::Tracee fork;
  uint64_t dirty_pages = 0;  // that the tracker named when it was last asked
  std::unique_ptr<snapshot::DirtyTracker> tracker;
  pid_t tracked = -1;  // the task by which the tracker looks at the memory
};

// What the page snapshots of some memory need to know.
struct PageSnapshots {
  bool begun = false;     // there is one
  bool given_up = false;  // there will be none any more
  SnapshotPace pace;
  std::optional<uint64_t> last_pause_ns;
  MemoryChanges changes;  // since the last one, but for what the tracker names
  // Touched since then, but in front of the last beginning (docs/notes/flight-recorder.md).
  snapshot::RangeSet touched_before;
  std::unique_ptr<snapshot::DirtyTracker> tracker;
  pid_t tracked = -1;           // the task by which the tracker looks at the memory
  bool tracker_wanted = false;  // a beginning had to copy all of the memory for want of one
  std::optional<tracee::Tracee> reference;  // where the tracker compares with one
};

// What an execve tells of a program.
struct ProgramFacts {
  std::string executable;
  std::vector<std::string> arguments;
  Bytes auxv;
};

// What an agent would be of use for: calls that did stop.
struct AgentUse {
  uint32_t clock_calls = 0;  // by the vDSO
  bool clock_tried = false;
  uint32_t file_calls = 0;
  std::set<GuestAddress> places_tried;    // of calls
  std::map<int, uint32_t> of_descriptor;  // since it was opened
  bool tables_differ = false;             // threads have descriptors of their own
  uint64_t calls = 0;                     // all that did stop
  int64_t balance = 0;                    // of stops that one spares (count_calls())
  int begun = 0;                          // how often
  bool barred = false;                    // code is written to behind the recorder's back
};

// Memory that one or more tasks use.
struct Space {
  uint32_t number = 0;  // Event::space
  snapshot::AddressSpace memory;
  mutable std::optional<bool> may_be_shared;  // with others that store to it, if that was asked
  mutable std::optional<uint64_t> pages_stored_to;  // by others too, if that was asked
  GuestAddress brk;
  Confinement confinement;
  Breakpoints breakpoints;
  ScratchPool scratch;
  std::unordered_set<GuestAddress> known_call_sites;
  std::optional<Agent> agent;
  AgentUse agent_use;
  std::optional<uint8_t> believed_dumpable;  // PR_SET_DUMPABLE, which has not reached the kernel
  bool fork_advised = false;  // MADV_DONTFORK or MADV_WIPEONFORK was given for parts of it
  // Where private mappings show what was written to their files by calls, as no tracker says.
  snapshot::RangeSet shown_of_files;
  std::optional<Reference> reference;
  EventNumber program;  // the exec that began it, or that its parent's began with
  // What that said of the program.
  std::shared_ptr<const ProgramFacts> facts;
  EventNumber last_event;  // of those in it
  PageSnapshots snapshots;

  // Where the recorder can have so much memory of its own, far from the guest's.
  std::optional<GuestAddress> place_for(uint64_t bytes) const {
    snapshot::RangeSet own = scratch.all();
    if (agent) std::ranges::copy(agent->memory(), std::back_inserter(own));
    return remote_place(memory, own, bytes);
  }
};

// Signals that the recorder's own traps raise.
constexpr SignalSet kTrapSignals = signal_bit(SIGSEGV) | signal_bit(SIGTRAP) | signal_bit(SIGSYS);
constexpr uint64_t kSyscallInstructionBytes = 2;  // of SYSCALL, and of INT 0x80
// With which a guest gets filters: those of all its threads. Without SPEC_ALLOW some kernels make
// the processor slower for them.
constexpr uint64_t kFilterFlags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
constexpr int kSeccompCode = 1;  // SYS_SECCOMP, si_code of a SIGSYS that a filter raises

// These are raised by instructions, and the kernel kills a thread that blocks them then.
constexpr SignalSet kFaultSignals = signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) |
                                    signal_bit(SIGILL) | signal_bit(SIGTRAP) | signal_bit(SIGSYS);

constexpr uint64_t kIgnored = 1;  // SIG_IGN

// Copying a page that a reference shares, at the guest's first write to it (measured: 5 to 14 us).
constexpr uint64_t kPageCopyNs = 5'000;

// A group of tasks with one pid.
struct Process {
  pid_t pid = -1;
  // sa_handler of signals that the recorder's own traps raise (kTrapSignals), where one is set.
  std::map<int, uint64_t> trap_handlers;
  // Filters of the recorder's in the kernel, which children inherit.
  bool vsyscalls_trapped = false;
  bool filtered = false;  // the agent's: each call but its own stops by itself
  // Of a leader that ended before the others, as waitpid(2) will tell it when they have.
  std::optional<int> leader_status;
};

// A signal that is about to enter its handler.
struct Delivery {
  trace::Place place = trace::Place::kByState;
  bool reported = false;  // as kSignal
};

// A set of cores, as sched_setaffinity(2) takes it.
using CpuMask = std::vector<uint8_t>;
inline constexpr size_t kMostCpuMaskBytes = 1024;
CpuMask mask_of(const std::vector<int>& cpus);

// What a task does, as the scheduler sees it.
enum class TaskState : uint8_t {
  kStopped,  // in a ptrace stop that has been dealt with: it can go on
  kRunning,  // it was let go on: it runs, blocks in the kernel or has an unread stop
};

struct Task {
  explicit Task(tracee::Tracee traced) : tracee(std::move(traced)), tid(tracee.pid()) {}

  tracee::Tracee tracee;
  pid_t tid;
  std::shared_ptr<Process> process;
  std::shared_ptr<Space> space;
  std::shared_ptr<OutputStreams> streams;
  syscalls::Sandbox sandbox;
  CpuMask affinity;  // that it has been given; empty: all of the recorder's
  // Real-time scheduling that it has been given, and does not have.
  std::optional<SchedulingAttributes> believed_scheduling;
  bool read_implies_exec = false;  // its personality

  TaskState state = TaskState::kStopped;
  bool announced = true;  // its SpawnEvent is in the log
  // A stop that came while another task's instructions were not in the log yet.
  std::optional<tracee::StopStatus> unread;
  // No instruction of it has run since its last event (one that blocks in a call has a
  // SwitchEvent): others may have theirs.
  bool behind_event = true;
  // To the log it stands in a call that has begun (SwitchEvent).
  bool stands_in_call = false;
  // For how long it may compute without a call, where it seems to spin until others act; 0: for its
  // whole slice.
  uint64_t patience_ns = 0;
  uint64_t run_ns = 0;             // in its slices that are over
  uint64_t computes_since_ns = 0;  // valid while it has a patience, or has left_at
  uint64_t left_by_state_ns = 0;   // when it last left the processor, if it did so by state
  bool behind_trap = false;        // its last event was an instruction that traps
  // Where it left the processor computing, if it has made no call since.
  std::optional<Registers> left_at;

  std::optional<PendingCall> call;
  // Where a call is about to begin that was reported as kSyscallEntry. It may be taken back once
  // more before it is made.
  std::optional<GuestAddress> entry_reported;
  // A call that was interrupted and that the guest is about to make again. Until then it counts as
  // not begun.
  std::optional<PendingCall> restarted;
  std::optional<InterruptedCall> interrupted;

  // At a signal stop: the signal, which run() delivers.
  std::optional<siginfo_t> signal;
  std::optional<Delivery> delivery;  // `signal` has a handler
  bool signal_reported = false;      // as kSignal
  // Signals that are kept back from their handlers, or whose kernel's copy is a mere marker:
  // whatever stop of such a number comes, it is for the first of them.
  std::map<int, std::deque<siginfo_t>> held;
  std::optional<SignalSet> mask_while_held;  // the guest's own
  uint64_t hold_until_ns = 0;
  // Ticks of timers come as fast as the program's handler could take them, and more often than the
  // recorder can (docs/notes/tasks.md, "Ticks").
  struct Ticks {
    uint64_t from_ns = 0;  // none by state before that
    int in_place = 0;      // that came one behind the other, with no instruction in between
    bool wait = false;     // those that are held, for the next call to be made
  };
  Ticks ticks;
  bool is_behind_handler = false;  // its last event is the return of a handler
  // Where the task is if a signal comes before its next instruction.
  std::optional<trace::Place> place_now;
  bool without_frame = false;      // there was no room for a handler's frame: a SIGSEGV says so
  SignalSet pending_at_event = 0;  // signals that will be delivered before the next instruction
  bool fatal_signal_recorded = false;
  bool signal_event_is_last = false;  // of its own events
  Registers last_registers;           // at its last event
  SignalSet traps_blocked = 0;        // of kTrapSignals
  int signal_stop = 0;                // the number, while it stands at the stop of a signal
  bool place_lost = false;            // it was killed where no event can say

  bool in_group_stop = false;
  bool interrupt_in_flight = false;  // PTRACE_INTERRUPT was sent and no stop has come since
  bool exit_recorded = false;
  bool in_exit_stop = false;
  std::vector<HardwareWatchpoint> armed;  // in its debug registers

  bool can_run() const { return state == TaskState::kStopped && announced && !in_exit_stop; }

  std::string name;  // as the sink has it

  // What the kernel writes to at its end.
  GuestAddress clear_child_tid;
  // Words that the kernel wrote when it was made, and that its memory and its parent's may differ
  // in (CLONE_CHILD_SETTID, CLONE_PARENT_SETTID, CLONE_PIDFD).
  std::vector<GuestAddress> words_at_start;
  GuestAddress robust_list;
};

}  // namespace rchk::record
