// New tasks, and programs that they execute.

#include <algorithm>
#include <csignal>

#include <sched.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;
namespace nr = syscalls::nr;

// What a call that makes a task asks for.
struct SpawnRequest {
  uint64_t flags = 0;
  GuestAddress child_tid, parent_tid, pidfd;
};

SpawnRequest request_of(const PendingCall& call, const tracee::Tracee& tracee) {
  switch (static_cast<int32_t>(call.before.rax)) {
    case nr::vfork:
      return {CLONE_VM | CLONE_VFORK, {}, {}, {}};
    case nr::clone:
      return {call.before.rdi, {call.before.r10}, {call.before.rdx}, {call.before.rdx}};
    case nr::clone3: {
      uint64_t words[4] = {};  // struct clone_args: flags, pidfd, child_tid, parent_tid
      tracee.read_memory({call.before.rdi}, {reinterpret_cast<uint8_t*>(words), sizeof(words)});
      return {words[0], {words[2]}, {words[3]}, {words[1]}};
    }
    default:
      return {};
  }
}

// Where the new task's memory holds another word than its parent's, which the kernel has written to
// behind the copy (kernel/fork.c, kernel_clone), or the other way round (kernel/sched/core.c,
// schedule_tail).
std::vector<GuestAddress> words_at_start(const SpawnRequest& request) {
  std::vector<GuestAddress> words;
  const bool copy = (request.flags & CLONE_VM) == 0;
  if ((request.flags & CLONE_CHILD_SETTID) != 0) words.push_back(request.child_tid);
  if (copy && (request.flags & CLONE_PARENT_SETTID) != 0) words.push_back(request.parent_tid);
  if (copy && (request.flags & CLONE_PIDFD) != 0) words.push_back(request.pidfd);
  return words;
}

}  // namespace

std::shared_ptr<Space> Recorder::Impl::new_space() {
  auto space = std::make_shared<Space>();
  space->number = next_space_++;
  return space;
}

// task_ has made another task, and is still in the call.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_new_task(const RunLimits& limits) {
  Task& parent = *task_;
  RCHK_TRY_ASSIGN(const uint64_t message, parent.tracee.event_message());
  if (!parent.call) return fail(ErrorKind::kUnsupported, "a task was made outside of any call");
  const auto tid = static_cast<pid_t>(message);
  auto child = std::make_unique<Task>(tracee::Tracee::adopt(tid));
  std::optional<StopStatus> stop;
  if (const auto known = unknown_.find(tid); known != unknown_.end()) {
    stop = known->second;
    unknown_.erase(known);
  } else {
    RCHK_TRY_ASSIGN(stop, child->tracee.wait());
  }
  if (stop->is_gone()) {
    child->tracee.forget();
    return MaybeStop();
  }
  if (const auto from = parent.tracee.passes_filters_from()) {
    child->tracee.pass_filters_from_birth(*from,
                                          parent.call->before.pc() + kSyscallInstructionBytes);
  }
  const SpawnRequest request = request_of(*parent.call, parent.tracee);
  const bool thread = (request.flags & CLONE_THREAD) != 0;
  const bool same_memory = (request.flags & CLONE_VM) != 0;
  child->sandbox = parent.sandbox;
  child->affinity = parent.affinity;
  const auto& scheduling = parent.believed_scheduling;
  if (scheduling && (scheduling->flags & kResetsOnFork) == 0) {
    child->believed_scheduling = scheduling;
  }
  child->read_implies_exec = parent.read_implies_exec;
  child->process = parent.process;
  if (!thread) {
    child->process = std::make_shared<Process>(*parent.process);
    child->process->pid = tid;
    child->process->leader_status.reset();
  }
  child->streams = (request.flags & CLONE_FILES) != 0
                       ? parent.streams
                       : std::make_shared<OutputStreams>(*parent.streams);
  files_shared_ |= !same_memory && (request.flags & CLONE_FILES) != 0;
  parent.space->agent_use.tables_differ |= thread && (request.flags & CLONE_FILES) == 0;
  if (same_memory) {
    child->space = parent.space;
  } else {
    child->space = new_space();
    Space& space = *child->space;
    space.memory = parent.space->memory;
    space.brk = parent.space->brk;
    space.confinement = parent.space->confinement;
    space.breakpoints = parent.space->breakpoints;
    space.known_call_sites = parent.space->known_call_sites;
    space.agent = parent.space->agent;
    space.agent_use = parent.space->agent_use;
    space.fork_advised = parent.space->fork_advised;
    space.believed_dumpable = parent.space->believed_dumpable;
    space.shown_of_files = parent.space->shown_of_files;
    space.program = parent.space->program;
    space.facts = parent.space->facts;
    // They were taken out before the fork. The debugger's are for the first process.
    space.breakpoints.report(false);
    if (breakpoints_in_) space.breakpoints.insert_all(child->tracee);
  }
  if ((request.flags & CLONE_CHILD_CLEARTID) != 0) child->clear_child_tid = request.child_tid;
  child->words_at_start = words_at_start(request);
  child->traps_blocked = parent.traps_blocked;
  child->in_group_stop = stop->kind == StopStatus::Kind::kGroupStop;
  if (stop->kind == StopStatus::Kind::kEvent) {  // it has been killed
    child->state = TaskState::kRunning;
    child->unread = stop;
  }
  child->announced = false;
  Task& made = *child;
  if (tasks_.empty() || tasks_.size() == 1) begin_slice(parent);
  tasks_[tid] = std::move(child);
  parent.call->spawned = tid;
  const bool parent_waits = (request.flags & CLONE_VFORK) != 0;
  if (thread || !(same_memory || parent_waits)) return MaybeStop();
  // Its parent waits in the call, or has its memory and is to wait.
  parent.call->spawned = -1;
  RCHK_TRY(leave_processor());
  RCHK_TRY(spawned_by_call(made));
  yielded_ = true;
  parent.call->vforked = made.process->pid;
  if (!limits.stop_at_forks || !debugged(parent)) return MaybeStop();
  // A stop in which the parent waits, as it does.
  RCHK_TRY(resume(ResumeMode::kSyscall));
  return MaybeStop(
      RecorderStop{.cause = StopCause::kForked, .child = made.process->pid, .vfork = same_memory});
}

// Writes the first event of a task that task_ has made.
Result<void> Recorder::Impl::spawned_by_call(Task& child) {
  if (child.announced) return {};
  const Task& parent = *task_;
  trace::SpawnEvent event;
  event.parent = {parent.tid};
  event.parent_space = parent.space->number;
  event.pid = child.process->pid;
  event.kind = trace::SpawnKind::kFork;
  if (child.space == parent.space) event.kind = trace::SpawnKind::kVfork;
  if (child.process == parent.process) event.kind = trace::SpawnKind::kThread;
  const Result<Registers> registers = child.tracee.registers();
  if (registers) {
    event.registers = *registers;
  } else {
    event.registers = parent.last_registers;  // it has been killed
    event.registers.rax = 0;
  }
  event.registers.orig_rax = ~0ull;
  for (const GuestAddress word : child.words_at_start) {
    trace::MemoryWrite write{word, Bytes(sizeof(int32_t))};
    write.bytes.resize(child.tracee.read_memory(word, write.bytes));
    if (!write.bytes.empty()) event.writes.push_back(std::move(write));
  }
  child.last_registers = event.registers;
  child.announced = true;
  child.behind_event = true;
  const bool advised = event.kind == trace::SpawnKind::kFork && child.space->fork_advised;
  RCHK_TRY(append_of(child, std::move(event)));
  return advised ? add_fork_differences(child) : Result<void>();
}

// Where the kernel writes for task_, which is about to execute a program, as at its end
// (kernel/fork.c, exec_mm_release). Those that others can look at.
std::vector<AddressRange> Recorder::Impl::words_left_by_exec() const {
  if (tasks_.size() == 1) return {};
  std::vector<AddressRange> words = words_written_at_end(*task_);
  if (memory_is_used_by_others(*task_)) return words;
  std::erase_if(words, [this](const AddressRange& word) {
    const trace::Mapping* const mapping = task_->space->memory.find(word.begin);
    return mapping == nullptr || !mapping->shared;
  });
  return words;
}

// The memory that task_ had is not its own any more.
Result<void> Recorder::Impl::add_writes_of_exec(const std::vector<AddressRange>& words) {
  const auto stays = std::find_if(tasks_.begin(), tasks_.end(), [this](const auto& other) {
    const Task& task = *other.second;
    return &task != task_ && task.space == task_->space && task.announced && !task.exit_recorded;
  });
  if (stays != tasks_.end()) {
    trace::MemoryEvent event;
    for (const AddressRange& word : words) {
      trace::MemoryWrite write{word.begin, Bytes(word.size())};
      write.bytes.resize(stays->second->tracee.read_memory(word.begin, write.bytes));
      if (!write.bytes.empty()) event.writes.push_back(std::move(write));
    }
    if (!event.writes.empty()) RCHK_TRY(append_of(*stays->second, std::move(event)));
  }
  return add_late_writes(*task_, words);
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_exec(const RunLimits& limits) {
  const std::vector<AddressRange> words =
      task_->call ? task_->call->words_left : std::vector<AddressRange>();
  // What it stored in memory that others go on using.
  if (memory_is_used_by_others(*task_) || !words.empty()) RCHK_TRY(leave_processor());
  RCHK_TRY(add_writes_of_exec(words));
  task_->streams = std::make_shared<OutputStreams>(*task_->streams);
  std::erase_if(task_->process->trap_handlers,
                [](const auto& item) { return item.second != kIgnored; });
  RCHK_TRY(take_image());
  if (breakpoints_in_) task_->space->breakpoints.insert_all(task_->tracee);
  ++calls_done_;
  if (limits.stop_at_exec && debugged(*task_)) {
    return MaybeStop(RecorderStop{.cause = StopCause::kExec});
  }
  return MaybeStop();
}

}  // namespace rchk::record
