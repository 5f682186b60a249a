#pragma once

#include <list>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "engine/record/contention.h"
#include "engine/record/cpu.h"
#include "engine/record/files.h"
#include "engine/record/image.h"
#include "engine/record/pause_budget.h"
#include "engine/record/recorder.h"
#include "engine/record/restarts.h"
#include "engine/record/state_pages.h"
#include "engine/record/task.h"
#include "engine/record/ticker.h"
#include "engine/record/tsc_mirror.h"
#include "engine/record/untrapped_instructions.h"
#include "engine/record/vsyscall_page.h"
#include "engine/syscalls/syscall.h"
#include "engine/tracee/xsavec.h"
#include "engine/translate/decode.h"

namespace rchk::record {

// Reads a guest's memory for the table of system calls.
class GuestReader final : public syscalls::MemoryReader {
 public:
  explicit GuestReader(const tracee::Tracee& tracee) : tracee_(tracee) {}
  size_t read(GuestAddress address, std::span<uint8_t> out) const override {
    return tracee_.read_memory(address, out);
  }

 private:
  const tracee::Tracee& tracee_;
};

// Whether a signal is one that the recorder sent for another one to be delivered (send_marker()).
bool is_marker(const siginfo_t& info);
// The call at whose entry a task's registers are `now`: nothing of it but how it begins.
PendingCall call_at_entry(const Registers& now);
// Whether the kernel may let others run before it comes back from the call.
bool may_block(const PendingCall& call);
// Whether the call that `task` waits in stores what has come so far, and goes on waiting for more.
// `reads_wait_for_more`: the program has asked for that (asks_to_wait_for_more()).
bool stores_in_parts(const Task& task, bool reads_wait_for_more);
// `tracee` outlives it.
inline snapshot::ReadMemory reader_of(const tracee::Tracee& tracee) {
  return [&tracee](GuestAddress address, std::span<uint8_t> bytes) {
    return tracee.read_memory(address, bytes);
  };
}

// Whether rchk, and so what it records, has filters of seccomp that others have set.
bool has_other_filters();
// The files that a call has mapped.
std::vector<snapshot::FileId> files_mapped_by(const trace::SyscallEvent& event);
// Whether reads of some descriptor wait until more than one byte has come, from this call on.
bool asks_to_wait_for_more(const syscalls::Call& call, const syscalls::MemoryReader& memory);

// Whether this process has the privilege to trace any other (kernel/ptrace.c,
// __ptrace_may_access).
bool may_look_everywhere();

// The recorder's state and loop. Its parts: recorder.cpp (start, the debugger's requests),
// run_loop.cpp, schedule.cpp (whose turn it is), waiting.cpp (for stops and calls),
// call_stops.cpp, redirect.cpp (where calls store), restarts.cpp (interrupted calls),
// privileges.cpp, affinity.cpp, task_numbers.cpp, sandbox.cpp (seccomp filters of the guest's own),
// agent_calls.cpp (when a guest gets an agent), agent_end.cpp, agent_descriptors.cpp,
// agent_stops.cpp (what it has written down), filtered_calls.cpp, signal_stops.cpp, handlers.cpp,
// instruction_patches.cpp (RDRAND, RDTSC), spawns.cpp, foreign_memory.cpp, ending.cpp, release.cpp
// (the recording ends before the guest), by_state.cpp (what changed since; fork snapshots),
// page_snapshots.cpp (when they are taken), snapshot_pages.cpp (what is copied for them),
// beginnings.cpp (history that is dropped).
class Recorder::Impl {
 public:
  Impl(RecorderOptions options, trace::EventSink& sink, tracee::Tracee tracee);
  ~Impl();

  // The program is behind its execve, and still in it.
  Result<void> take_image();
  // `left`: the number of the memory that ends with it, if one does.
  Result<void> take_new_image(std::optional<uint32_t> left);
  void leave_real_time();

  Result<RecorderStop> run(const RunLimits& limits);
  Result<RecorderStop> stop_recording(std::string_view reason);
  Result<tracee::StopStatus> wait_for_guest();
  Result<ForkSnapshot> fork_snapshot();
  Result<bool> log_calls_for_snapshot();

  Result<Registers> registers() const;
  // Tasks in the memory of task_, which comes first.
  std::vector<Tid> tasks_here() const;
  // REQUIRES: it is not running.
  Result<OtherTask> waiting_task(Tid tid) const;
  Result<void> require_guest() const;
  Watchpoints watchpoints_;
  std::set<GuestAddress> debugger_breakpoints_;
  void change_breakpoint(GuestAddress address, bool on);
  const snapshot::AddressSpace& address_space() const;
  pid_t pid() const;
  Tid tid() const;
  // The task that runs, or that the last stop is of. Null behind the end of all.
  Task* task_ = nullptr;
  uint64_t event_count_ = 0;
  std::vector<int> allowed_cpus_;  // before the recorder pinned itself

 private:
  using MaybeStop = std::optional<RecorderStop>;

  // run_loop.cpp
  Result<RecorderStop> run_guest(const RunLimits& limits);
  Result<RecorderStop> step(Task& task, const RunLimits& limits);
  Result<void> resume(tracee::ResumeMode mode);
  // The loop's one round: lets the guest run to its next stop and deals with that.
  Result<MaybeStop> advance(tracee::ResumeMode mode, const RunLimits& limits);
  Result<MaybeStop> go_on(tracee::ResumeMode mode, const RunLimits& limits);
  Result<Task*> choose_task(const RunLimits& limits);
  Result<MaybeStop> handle(const tracee::StopStatus& stop, const RunLimits& limits);
  Result<bool> is_dying(const Task& task);
  Result<RecorderStop> recover(const Error& error);
  Result<MaybeStop> end_of_stepped_pushf(MaybeStop result);
  Result<void> drop_trap_flag(Task& task);
  Result<MaybeStop> end_of_interrupted_step(Result<MaybeStop> result, const RunLimits& limits);
  void insert_breakpoints();
  void remove_breakpoints();
  bool debugged(const Task& task) const;
  Result<void> stand_in_first_process();

  // waiting.cpp
  // True when task_ has an unread stop; false if it has left the processor to others.
  Result<bool> wait_for_stop(const RunLimits& limits);
  // Waits for a stop of any task, which becomes its `unread`. False if nothing came: there is none
  // yet, or a signal ended the wait.
  Result<bool> wait_for_any(bool block);
  // `waited`: it has run for a while since its last stop.
  Result<void> on_tick(const RunLimits& limits, bool contended, bool waited);
  Result<void> interrupt_if_asked(const RunLimits& limits);
  bool sleeps(const Task& task) const;
  bool is_unheard_of(const Task& task) const;
  bool waits_for_disk(const Task& task) const;
  void let_run();
  Result<void> let_fed_tasks_finish();
  // Writes the events of other tasks' calls that have come to their end; true if there was one.
  Result<bool> log_ended_calls();
  Result<void> let_calls_come_to_rest();

  // schedule.cpp
  // Gives the processor to the task whose turn it is; deals with stops of the others.
  Result<MaybeStop> schedule(const RunLimits& limits);
  bool others_can_run() const;
  bool is_held_back(const Task& task) const;
  uint64_t program_ns() const;
  Task* woken_in_front();
  // As log_ended_calls(), for what calls have stored that have not come to their end.
  Result<bool> log_partial_stores();
  Result<bool> log_stores_so_far(Task& task);
  // The state of task_, for an event whose place is its state. Returns how many pages it has.
  template <typename ByStateEvent>
  Result<uint64_t> take_state(ByStateEvent& event) {
    uint64_t count = 0;
    // The kernel may store for others at any time: what it has stored is to be in the log.
    for (bool again = true; again;) {
      RCHK_TRY_ASSIGN(event.extended_state, task_->tracee.extended_state());
      RCHK_TRY_ASSIGN(StatePages pages, changed_pages(event.registers));
      count = pages.count();
      event.dirty = std::move(pages.contents);
      event.checksums = std::move(pages.checksums);
      RCHK_TRY_ASSIGN(again, log_ended_calls());
      if (again) continue;
      RCHK_TRY_ASSIGN(again, log_partial_stores());
    }
    return count;
  }
  Task* next_in_turn();
  void begin_slice(Task& task);
  uint64_t whole_slice_ns() const;
  // Whether task_, which computes, is to let others run.
  bool is_to_leave() const;
  bool is_turn_over() const;
  void note_where_left(const Registers& now);
  void note_call();
  bool slice_is_over() const;
  bool runs_beside_unknown_call() const;
  // Whether what task_ has computed since its last event is not to become part of a state now.
  bool is_to_compute_on(uint64_t due_ns) const;
  bool stands_in_trap(const Registers& now) const;
  // Those of task_ for an event whose place is its state: one that a replay comes to.
  Result<Registers> registers_at_place() const;
  // Writes a SwitchEvent, if instructions of task_ are not in the log yet.
  Result<void> leave_processor();
  // The event of a call of `task` that has stored something without coming to its end.
  Result<void> add_call_made_again(Task& task, const PendingCall& call,
                                   const std::vector<AddressRange>& stored);
  Result<void> add_call_made_again(Task& task, const PendingCall& call,
                                   std::vector<trace::MemoryWrite> writes);
  Result<void> add_end_of_killed_call(Task& task);
  Result<void> add_end_of_call(Registers after);
  // Of one that has come back, and that the guest sees made anew.
  Result<void> add_stores_of_interrupted(Task& task, const PendingCall& call);
  Result<MaybeStop> read_stop(Task& task, const RunLimits& limits);

  // call_stops.cpp
  Result<MaybeStop> on_call_entry(const RunLimits& limits);
  Result<MaybeStop> begin_call(const Registers& registers, const RunLimits& limits);
  Result<MaybeStop> resume_interrupted(const Registers& registers);
  Result<MaybeStop> on_call_exit(const RunLimits& limits);
  // What the recorder answers itself; also the errno of what is refused.
  std::optional<int64_t> own_answer(const syscalls::Call& call) const;
  // Why the recording cannot go on with this call; empty if it can.
  std::string obstacle(const syscalls::Call& call, const Registers& registers);
  void say_what_is_refused(const syscalls::Call& made);
  Result<void> prepare_call(PendingCall& call, const syscalls::Call& made, Registers registers,
                            const RunLimits& limits);
  Result<void> take_call_back();
  Result<void> note_names(Task& task, const trace::EventBody& body);
  Result<void> name_task(Task& task, const std::string& name);
  bool is_name_file(pid_t pid, int32_t descriptor) const;
  Result<void> note_pending_signals(const PendingCall& call, int64_t result);
  bool is_caught(int number, const RunLimits& limits) const;
  void note_thread_words(const PendingCall& call, int64_t result);
  void note_adopter(const syscalls::Call& made, int64_t result);
  Result<void> checksum_if_due(const Registers& registers);
  MaybeStop watchpoint_changed_by(const std::vector<trace::MemoryWrite>& writes,
                                  const RunLimits& limits);

  // privileges.cpp
  std::optional<int64_t> answer_about_privileges(const syscalls::Call& call);
  std::optional<int64_t> answer_about_dumps(const syscalls::Call& call);
  bool executes_unreadable(const syscalls::Call& call) const;
  Result<void> note_scheduling(const syscalls::Call& call, int64_t result);
  Result<void> store_scheduling(GuestAddress at, uint32_t value);

  // affinity.cpp
  std::optional<int64_t> answer_about_affinity(const syscalls::Call& call);
  std::optional<uint32_t> believed_cpu() const;
  Result<void> keep_in_affinity(const syscalls::Call& getcpu);
  std::optional<uint32_t> believed_processor_id() const;

  // task_numbers.cpp
  Task* task_numbered(pid_t number, size_t level) const;
  Task* task_named(uint64_t argument) const;
  Task* task_of_memory_file(int32_t descriptor) const;

  // sandbox.cpp
  std::optional<int64_t> answer_about_sandbox(const syscalls::Call& call);
  int64_t set_strict();
  int64_t add_filter(uint32_t flags, GuestAddress program);
  syscalls::Verdict judge(const syscalls::Call& call, const Registers& registers) const;
  Result<void> carry_out(const syscalls::Verdict& verdict, PendingCall& call,
                         const syscalls::Call& made, Registers registers, const RunLimits& limits);
  Result<void> raise_trap(const PendingCall& call);

  // redirect.cpp
  bool may_be_looked_at(const syscalls::CallBuffers& buffers) const;
  bool can_store_to(const syscalls::CallBuffers& buffers, const PendingCall& call) const;
  Result<void> redirect_stores(const Registers& registers);
  Result<void> point_to_scratch(const Registers& registers);
  Result<void> make_scratch(uint64_t bytes);
  Result<void> unmap_scratch(AddressRange region);
  Result<bool> clear_the_way_for(PendingCall& call, const syscalls::Call& made);
  bool is_in_the_way_of(const syscalls::Call& made) const;
  Result<void> bring_back_stores(Task& task, PendingCall& call, Registers& after);
  Result<void> end_redirection(PendingCall& call);

  // call_events.cpp
  Result<trace::SyscallEvent> event_of(PendingCall& call, const Registers& after, int64_t result);
  bool is_doubtful(const PendingCall& call) const;
  Result<std::vector<trace::PageContents>> writable_pages() const;
  Result<void> add_changed_pages(const PendingCall& call, trace::SyscallEvent& event);
  Result<void> add_writes(const PendingCall& call, const Registers& after,
                          trace::SyscallEvent& event);
  void add_output(const PendingCall& call, int64_t result, trace::SyscallEvent& event);

  // restarts.cpp
  Result<CallEnd> restart_interrupted(const Registers& after);
  void save_remainder(PendingCall& call);
  Result<void> shorten_time_out(PendingCall& call);
  Result<void> restore_time_out(const PendingCall& call, Registers& after);

  // signal_stops.cpp
  Result<MaybeStop> on_signal(int signal, const RunLimits& limits);
  Result<MaybeStop> on_trap(const siginfo_t& info, Registers registers, const RunLimits& limits,
                            bool& ours);
  bool is_own_trap(const Instruction& instruction, GuestAddress pc);
  Result<void> drop_own_trap();
  Result<bool> emulate_trapped(const Registers& before);
  Result<MaybeStop> on_interrupt();
  Result<MaybeStop> stop_at_32_bit_code(const Registers& registers);
  Result<void> append_trap(trace::EventBody event, const Registers& after);
  Result<void> undo_force(int signal);
  Result<void> set_handler(int signal, uint64_t handler);
  // xsavec_hooks.cpp: carries out the XSAVEC at `registers.pc()`, a hook.
  Result<MaybeStop> perform_hook(Registers registers, const RunLimits& limits);
  void set_hooks(const trace::ExecEvent& image);
  Result<MaybeStop> on_fatal_signal(const siginfo_t& info, const Registers& registers,
                                    const RunLimits& limits);
  Result<void> add_fatal_signal(const siginfo_t& info, const Registers& registers);
  trace::Place place_of(const siginfo_t& info, const Registers& registers) const;

  // handlers.cpp
  Result<MaybeStop> on_handled_signal(const siginfo_t& info, const Registers& registers,
                                      const RunLimits& limits);
  Result<MaybeStop> enter_handler(const RunLimits& limits);
  Result<MaybeStop> at_handler(trace::SignalEvent event, const RunLimits& limits);
  Result<void> add_handler_of_killed(Task& task);
  Result<void> hold(const siginfo_t& info);
  // Lets the signals that were held come now, at `place`.
  Result<void> release_held(trace::Place place);
  Result<void> release_held();  // and wherever that turns out to be
  Result<void> send_marker(int signal);
  Result<void> unhold_info(siginfo_t& info);
  Result<bool> keeps_signals_back() const;
  bool holds() const { return !task_->held.empty(); }

  // instruction_patches.cpp Make instructions trap that nothing else does: in one mapping, or in
  // those that a call changed. What they store is added to `writes`.
  struct Patch {
    GuestAddress where;  // of the byte
    translate::PatchedByte byte;
  };
  std::vector<Patch> patches_in(const trace::Mapping& mapping);
  void patch(const trace::Mapping& mapping, std::vector<trace::MemoryWrite>& writes);
  bool is_patch(GuestAddress pc, size_t length);
  // For that and for calls of the vsyscall page.
  Result<void> look_at_code(const trace::Mapping& mapping, std::vector<trace::MemoryWrite>& writes);
  Result<void> look_at_code_of(const std::vector<trace::AddressSpaceChange>& changes,
                               std::vector<trace::MemoryWrite>& writes);
  // For a guest that goes on without being recorded.
  void take_patches_out(Task& task);

  // vsyscall_page.cpp Calls of that page become events, in processes that may make any.
  Result<void> watch_vsyscalls_of(const trace::Mapping& mapping);
  Result<void> trap_vsyscalls();
  // Gives all threads of task_'s process a filter. The kernel's answer: 0, or an errno's negative.
  Result<int64_t> install_filter(std::span<const sock_filter> code);
  Result<void> say_vsyscalls(int error);
  bool stands_in_vsyscall() const;
  Result<bool> emulate_vsyscall(const siginfo_t& info, Registers after);

  // agent_calls.cpp Calls that read the clock are made without a stop, where there are many.
  // So are small reads and writes.
  Result<void> consider_agent(const PendingCall& call, int64_t result);
  bool can_have_agent() const;
  bool has_cookies();
  Result<bool> begin_agent(trace::MemoryEvent& event);
  Result<bool> map_for_guest(AddressRange range, int protection, trace::MemoryEvent& event);
  Result<void> begin_file_memory(GuestAddress code, trace::MemoryEvent& event);
  Result<void> add_agent_event(trace::MemoryEvent event);
  Result<void> begin_clock_agent();
  Result<void> consider_file_call(const PendingCall& call, int64_t result);
  Result<void> begin_file_agent(int32_t number, GuestAddress call);

  // filtered_calls.cpp
  bool is_trapped_call(const siginfo_t& info) const;
  Result<tracee::StopStatus> come_to_entry(Task& task, tracee::StopStatus stop);
  static bool agent_pays(AgentUse& use);
  void count_calls(Space& space, uint64_t of_agent, uint64_t others) const;
  Result<void> end_agent_that_costs();

  // agent_end.cpp
  Result<void> end_agent_if_touched(trace::SyscallEvent& event);
  Result<void> end_barred_agents();
  Result<void> end_agent(Task& task, const std::vector<trace::AddressSpaceChange>& changes,
                         std::vector<trace::MemoryWrite>& writes);

  // agent_descriptors.cpp
  Result<void> consider_descriptor(int descriptor);
  std::optional<Agent::Descriptor> descriptor_for_agent(int descriptor) const;
  bool is_served_file(const std::string& path, const Agent::Descriptor& file) const;
  bool is_served_socket(int descriptor) const;
  bool is_epoll(int descriptor) const;
  bool is_served_epoll(int descriptor) const;
  bool answers_at_once(uint64_t device, int target) const;
  Result<void> consider_epoll_target(const syscalls::Call& made);
  Result<void> end_agent_descriptors(const PendingCall& call,
                                     const std::vector<snapshot::FileId>& mapped);
  Result<void> end_agent_files(const std::vector<snapshot::FileId>& mapped);
  Result<void> end_agent_file(std::optional<std::pair<uint64_t, uint64_t>> file);
  Result<void> end_agent_sockets();
  Result<void> end_agent_descriptors_if(
      const std::function<bool(const Agent::Descriptor&)>& is_ended);

  // agent_stops.cpp
  Result<void> settle_agent(Task& task);
  Result<void> settle_agent_at(Task& task);
  Result<void> read_agent_calls(Space& space);
  void become_user_of_agent(Task& task);
  Result<void> leave_agent(Task& task, const AgentCode& code);
  // How a task came out of the agent's code.
  struct AgentExit {
    Registers registers;                      // at an end, or where `other` came
    std::optional<tracee::StopStatus> other;  // that came before
    bool in_group_stop = false;
    std::vector<siginfo_t> later;  // signals that came on the way
  };
  Result<void> go_on_to_end(Task& task, const AgentCode& code, uint64_t mask, AgentExit& exit);
  void undo_trap(Task& task, GuestAddress at, uint8_t kept);
  Result<void> stop_again_as(const tracee::StopStatus& first, const siginfo_t& info, bool ignored);

  // spawns.cpp
  Result<MaybeStop> on_new_task(const RunLimits& limits);
  Result<void> spawned_by_call(Task& child);
  Result<MaybeStop> on_exec(const RunLimits& limits);
  std::vector<AddressRange> words_left_by_exec() const;
  Result<void> add_writes_of_exec(const std::vector<AddressRange>& words);

  // foreign_memory.cpp What a call changes in the memory of other processes.
  Result<void> add_foreign_changes(const PendingCall& call, int64_t result);
  // Bytes that a call stored into the memory of a process by other means than that process's own
  // mappings: process_vm_writev, and writes to /proc/PID/mem.
  struct ForeignStore {
    Space* space = nullptr;
    AddressRange range;
  };
  std::vector<ForeignStore> foreign_stores(const PendingCall& call, int64_t result);
  // Says where private mappings show what is stored through shared ones, which no replay does.
  void say_what_stores_show(const std::vector<trace::AddressSpaceChange>& changes);
  // Notes files that calls may change.
  void note_opened(const PendingCall& call, int64_t result);
  void note_descriptor(int32_t descriptor);
  // Whether a descriptor of task_'s is of a file that a program of the recording provides.
  bool is_out_of_reach(int32_t descriptor) const;
  bool changes_out_of_reach(const syscalls::Call& call, int64_t result) const;
  void note_received_descriptors(const PendingCall& call, int64_t result);
  // Of files that task_ has mapped and the guest does not write to.
  void say_what_outsiders_changed();
  // What a fork did not copy as it was (MADV_DONTFORK, MADV_WIPEONFORK).
  Result<void> add_fork_differences(Task& child);
  // A task in `space` to whose events one about its memory can be added; or none.
  Task* task_at_rest_in(const Space& space);
  Result<void> add_memory_event(Space& space, trace::MemoryEvent event);

  // ending.cpp
  Result<MaybeStop> on_exit_event();
  Result<void> end_others_of(Process& process);
  // Others go on in its memory. `gone`: how it ended, where it is there no more.
  Result<void> end_task(Task& task, const std::optional<tracee::StopStatus>& gone = {});
  Result<void> end_process();  // of task_, the last in its memory
  void note_end(const Task& task, const tracee::StopStatus& status);
  Result<void> wait_until_dead(Task& task);
  bool waits_for_others_to_end(const Task& task) const;
  Result<MaybeStop> on_gone(const tracee::StopStatus& status);
  std::vector<GuestAddress> places_in(const Space& space, const trace::Mapping& own,
                                      GuestAddress address) const;
  Result<void> add_late_writes(const Task& task, const std::vector<AddressRange>& words);
  void remove_task(Task& task);
  Result<std::vector<trace::MemoryChecksum>> checksum_memory();
  bool can_checksum_memory();
  Result<std::vector<trace::MemoryChecksum>> checksum_memory_at_end();
  std::vector<AddressRange> words_written_at_end(const Task& task) const;
  bool memory_is_used_by_others(const Task& task) const;
  size_t live_tasks_of(const Process& process) const;
  void kill_all();

  // release.cpp
  Result<void> set_task_free(Task& task);
  Result<tracee::StopStatus> follow_to_end();
  void lead_on(pid_t pid, const tracee::StopStatus& stop);
  // After a remote system call at a signal stop: brings the guest back to one of the same signal.
  Result<void> restore_signal_stop();

  // page_snapshots.cpp
  SnapshotRate snapshot_rate() const;
  bool has_snapshots() const;
  SnapshotPace& pace_of_snapshots(const SnapshotRate& rate, uint64_t time_ns);
  Result<void> snapshot_if_due();
  bool can_afford_snapshot(const SnapshotRate& rate);
  Result<void> take_page_snapshot();
  // For a task that computes on without any event: makes one, by its state.
  bool waits_without_stores(const Task& task) const;
  bool snapshot_is_overdue();
  Result<void> take_snapshot_in_computation();
  Result<void> add_snapshot(trace::Snapshot taken, trace::PageDelta delta, uint64_t begin_ns);
  void note_snapshot_cost(uint64_t begin_ns, const trace::SnapshotWork& work, uint64_t pages);
  Result<trace::Snapshot> describe_snapshot(const Registers& registers);
  void give_up_snapshots(Space& space, pid_t pid, const Error& error);
  bool is_at_rest() const;
  bool others_are_at_rest() const;
  static bool is_undisturbed(const Task& task);
  static bool is_in_order(const Task& task);
  static bool may_be_shared(const Space& space);

  // snapshot_pages.cpp
  void note_for_snapshots(Space& space, const trace::EventBody& body);
  void note_shown_of_files(Space& space, const std::vector<trace::MemoryWrite>& writes);
  snapshot::RangeSet memory_in_flight(const Space& space) const;
  static snapshot::RangeSet most_stored(const Task& task);
  Result<void> begin_interval();
  // Whether all pages of the guest's own are wanted, or those that changed since the last snapshot.
  enum class Copied : uint8_t { kChanges, kAll };
  Result<snapshot::RangeSet> changed_ranges(Copied what);
  bool is_stored_to(const trace::Mapping& mapping) const;
  uint64_t pages_stored_to(const Space& space) const;
  trace::PageDelta copy_changes(const snapshot::RangeSet& pages);
  Result<trace::PageDelta> take_changes(const snapshot::RangeSet& pages);
  void release_held_forks();
  void wait_for_held_forks();
  void note_dying_copy(pid_t pid, const tracee::StopStatus& stop);
  void bury_dying_copies();
  Result<void> begin_tracking();
  Result<std::unique_ptr<snapshot::DirtyTracker>> new_tracker();
  Result<std::unique_ptr<snapshot::DirtyTracker>> new_userfaultfd_tracker(pid_t tracked);
  Result<FileDescriptor> userfaultfd_of_guest();
  Result<void> tell_tracker_of_call(const syscalls::Call& made);

  // beginnings.cpp Points from which what follows can be replayed alone.
  Result<void> begin_anew_if_wanted();
  bool beginning_is_due();
  Result<void> track_if_wanted();
  bool processes_share_memory() const;
  uint64_t pages_stored_to_by_all() const;
  void say_that_none_begins(const Error& error, bool drops);
  Result<void> begin_anew(bool front_stays);
  bool all_at_rest() const;
  Result<bool> take_beginning(std::vector<trace::KeptProcess>& kept, uint64_t most_pages);
  Result<void> copy_processes(std::vector<trace::KeptProcess>& kept, std::set<uint32_t>& tracked,
                              uint64_t most_pages);
  Result<bool> copy_process(bool runs, trace::KeptProcess& kept, uint64_t& pages_left);
  void note_beginning(const trace::KeptProcess& process, const std::set<uint32_t>& tracked);
  Result<trace::WaitingTask> describe_task(const Task& task) const;
  Result<void> name_shared_objects(std::vector<trace::KeptProcess>& kept);

  // by_state.cpp What may have changed since the task's last event.
  Result<StatePages> changed_pages(const Registers& registers);
  StatePages state_pages(const snapshot::RangeSet& pages, const Registers& registers);
  pid_t lasting_task() const;
  Result<void> renew_reference();
  void before_fork(const RunLimits* limits);
  bool is_lost(pid_t tracked) const;
  bool can_fork_reference() const;
  Result<tracee::Tracee> fork_reference();
  Result<void> let_go_of_what_others_see(tracee::Tracee& copy);
  Result<void> end_reference(tracee::Tracee& fork);

  Result<void> append(trace::EventBody body) { return append_of(*task_, std::move(body)); }
  Result<void> append_of(Task& task, trace::EventBody body);
  Result<void> append_at(uint64_t time_ns, Task& task, trace::EventBody body);
  void say(std::string_view text);
  void say_once(const std::string& text);
  uint64_t now_ns() const;
  std::shared_ptr<Space> new_space();

  RecorderOptions options_;
  trace::EventSink& sink_;
  FileStore files_;
  bool trap_cpuid_ = false;
  bool trap_tsc_ = false;
  tracee::Xsavec xsavec_ = tracee::Xsavec::of_this_machine();
  UntrappedInstructionFinder untrapped_instructions_;
  // Places in files where a privileged instruction is, or is not, the program's own.
  std::map<std::pair<snapshot::FileId, uint64_t>, bool> own_privileged_;
  VsyscallFinder vsyscalls_;
  AgentCookies agent_cookies_;                    // of the first agent on
  std::optional<StopsBySignal> stops_by_signal_;  // of its filter, under filters of others
  bool agent_serves_epolls_ = false;
  bool files_shared_ = false;  // descriptors, by processes with memory of their own
  TscMirror tsc_mirror_;       // on while run() lets the guest run freely
  uint64_t start_ns_ = 0;

  std::map<pid_t, std::unique_ptr<Task>> tasks_;
  // First stops of tasks whose parent has not told of them yet.
  std::map<pid_t, tracee::StopStatus> unknown_;
  // Of tasks whose end is in the log, and that have not died yet (waits_for_others_to_end()).
  std::set<pid_t> ending_;
  uint32_t next_space_ = 0;
  pid_t first_pid_ = -1;
  std::optional<RecorderStop> first_end_;  // of the first process
  uint64_t slice_end_ns_ = 0;
  const bool may_look_ = may_look_everywhere();  // at processes that are not dumpable
  bool provides_files_ = false;                  // a program has opened /dev/fuse
  uint64_t switch_cost_ns_ = 0;                  // of the last switch by state
  uint64_t paused_since_ns_ = 0;                 // by a debugger; 0: never
  bool yielded_ = false;
  pid_t woken_tid_ = 0;  // whose call has just ended
  pid_t runs_tid_ = 0;   // whose slice it is
  uint64_t runs_since_ns_ = 0;
  uint64_t next_preemption_ns_ = 0;
  bool fed_others_ = false;  // the last call may have ended other tasks' calls
  std::optional<std::mt19937_64> chaos_;
  Ticker ticker_;
  CoreContention contention_{[this] { return program_ns(); }};
  // A process takes in orphans: it would hear of the end of a reference that is one.
  bool has_adopters_ = false;
  bool keep_states_ = false;               // fork snapshots are taken
  std::map<pid_t, ExtendedState> states_;  // of tasks in calls, where they are kept
  const RunLimits* limits_ = nullptr;      // of the present run()
  bool breakpoints_in_ = false;            // run() has put them in

  bool taking_snapshot_ = false;
  PauseBudget snapshot_budget_;  // of processes that share memory
  PauseBudget checksum_budget_;  // at the ends of processes
  // Of beginnings with all history in front of them.
  SnapshotPace beginning_pace_;
  uint64_t look_for_sharing_ns_ = 0;  // not before
  // Forks of the first process whose pages the sink reads.
  struct HeldFork {
    tracee::Tracee fork;
    std::shared_ptr<Space> space;
    GuestAddress first_page;
    std::weak_ptr<const trace::MemoryHolder> holder;
  };
  std::list<HeldFork> held_forks_;
  std::set<pid_t> dying_copies_;                       // that were killed, and are not gone yet
  std::optional<snapshot::TrackerKind> tracker_kind_;  // where userfaultfd does not work
  bool reads_wait_for_more_ = false;                   // of some descriptor
  bool names_opened_ = false;         // some descriptor may be that of a task's name
  bool memory_files_opened_ = false;  // some descriptor may be a /proc/PID/mem

  uint64_t calls_done_ = 0;
  bool exit_reported_ = false;  // as kAboutToExit
  bool stepping_ = false;
  Breakpoints step_target_;        // behind a string instruction that is stepped over
  bool interrupt_wanted_ = false;  // by this run()
  uint64_t next_poll_ns_ = 0;

  uint64_t next_checksum_ns_ = 0;
  uint64_t last_event_ns_ = 0;  // as its event says
  std::set<std::string> said_;
  std::optional<RecorderStop> finished_;
  std::optional<RecorderStop> due_;     // comes behind the stop that was made last
  snapshot::AddressSpace last_memory_;  // of the task that ended last
  pid_t free_pid_ = -1;                 // goes on by itself
  bool follows_free_ = false;           // some of those that do stay traced
  // Those that do not pass the agent's filter by themselves, and whether they are in a call.
  struct Followed {
    tracee::Tracee tracee;
    bool in_call = false;
  };
  std::map<pid_t, Followed> followed_;
};

}  // namespace rchk::record
