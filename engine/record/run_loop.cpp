#include <algorithm>
#include <csignal>
#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/descriptors.h"
#include "engine/record/recorder_impl.h"
#include "engine/trace/vsyscall.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

}  // namespace

Result<RecorderStop> Recorder::Impl::run(const RunLimits& limits) {
  if (finished_) return *finished_;
  limits_ = &limits;
  next_poll_ns_ = 0;
  interrupt_wanted_ = false;
  Result<RecorderStop> stop = run_guest(limits);
  // A debugger's questions are about a task that stands still.
  tsc_mirror_.leave();
  stepping_ = false;
  if (!finished_) remove_breakpoints();
  paused_since_ns_ = monotonic_ns();
  if (!stop) stop = recover(stop.error());
  ticker_.close();
  limits_ = nullptr;
  return stop;
}

// The debugger's breakpoints and watchpoints are those of the first process.
bool Recorder::Impl::debugged(const Task& task) const { return task.process->pid == first_pid_; }

void Recorder::Impl::insert_breakpoints() {
  breakpoints_in_ = true;
  for (const auto& [tid, task] : tasks_) {
    task->space->breakpoints.report(limits_->stop_at_breakpoints && debugged(*task));
  }
  std::set<Space*> done;
  for (const auto& [tid, task] : tasks_) {
    if (!task->space->breakpoints.inserted() && done.insert(task->space.get()).second) {
      task->space->breakpoints.insert_all(task->tracee);
    }
  }
}

void Recorder::Impl::remove_breakpoints() {
  breakpoints_in_ = false;
  for (const auto& [tid, task] : tasks_) {
    if (task->space->breakpoints.inserted()) task->space->breakpoints.remove_all(task->tracee);
  }
}

Result<RecorderStop> Recorder::Impl::run_guest(const RunLimits& limits) {
  if (due_) return *std::exchange(due_, std::nullopt);
  if (limits.stop_at_breakpoints) {
    if (debugged(*task_)) watchpoints_.take_values(task_->tracee);
  } else {
    for (const auto& [tid, task] : tasks_) {
      if (task->state == TaskState::kStopped) Watchpoints::disarm(task->tracee, task->armed);
    }
  }
  if (task_->signal && task_->fatal_signal_recorded && limits.stop_before_exit && !exit_reported_ &&
      debugged(*task_)) {
    exit_reported_ = true;
    return RecorderStop{.cause = StopCause::kAboutToExit, .signal = task_->signal->si_signo};
  }
  RCHK_TRY_ASSIGN(Task* const chosen, choose_task(limits));
  const bool here = task_->state == TaskState::kStopped && !task_->unread;
  bool step_first = limits.single_step;
  if (here && !step_first && limits.stop_at_breakpoints && !task_->space->breakpoints.empty()) {
    RCHK_TRY_ASSIGN(const Registers registers, task_->tracee.registers());
    step_first = task_->space->breakpoints.contains(registers.pc());
  }
  if (step_first) {
    RCHK_TRY_ASSIGN(const RecorderStop stop, step(*chosen, limits));
    if (limits.single_step || stop.cause != StopCause::kStepped) return stop;
    // The next instruction may have a breakpoint as well.
    RCHK_TRY_ASSIGN(const Registers registers, task_->tracee.registers());
    if (task_->space->breakpoints.contains(registers.pc())) {
      return RecorderStop{.cause = StopCause::kBreakpoint, .address = registers.pc()};
    }
  }
  insert_breakpoints();
  if (task_->space->confinement.tsc_trapped) tsc_mirror_.enter();
  for (;;) {
    RCHK_TRY_ASSIGN(const MaybeStop result, advance(ResumeMode::kSyscall, limits));
    if (result) return *result;
    if (descriptors_ran_out()) return fail_errno("more processes than ulimit -n allows", EMFILE);
  }
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::advance(ResumeMode mode,
                                                          const RunLimits& limits) {
  if (tasks_.size() > 1) {
    Task* const before = task_;
    RCHK_TRY_ASSIGN(MaybeStop result, schedule(limits));
    if (result) return result;
    if (task_ != before) mode = ResumeMode::kSyscall;
  }
  return go_on(mode, limits);
}

// Lets task_ run, if it does not, up to its next stop.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::go_on(ResumeMode mode, const RunLimits& limits) {
  // SIGKILL gets a task out of any stop, into its last one.
  if (task_->state == TaskState::kStopped && !task_->unread) {
    if (task_->delivery) return enter_handler(limits);
    if (holds() && task_->mask_while_held && !task_->call &&
        monotonic_ns() >= task_->hold_until_ns && !is_to_compute_on(task_->hold_until_ns)) {
      RCHK_TRY(release_held(trace::Place::kByState));
    }
    if (limits.stop_at_breakpoints && debugged(*task_)) {
      RCHK_TRY(watchpoints_.arm(task_->tracee, task_->armed));
    }
    const Result<void> resumed = resume(mode);
    // Somebody killed it: its end is to be heard of.
    if (!resumed && resumed.error().kind != ErrorKind::kGone) return Failure(resumed.error());
  }
  RCHK_TRY_ASSIGN(const bool stopped, wait_for_stop(limits));
  if (!stopped) return MaybeStop();
  return read_stop(*task_, limits);
}

// Deals with the stop that task `task` is known to be in; it becomes task_.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::read_stop(Task& task, const RunLimits& limits) {
  task_ = &task;
  const pid_t tid = task.tid;
  RCHK_CHECK(task.unread, "task {} has no stop to read", tid);
  const StopStatus stop = *std::exchange(task.unread, std::nullopt);
  task.state = TaskState::kStopped;
  contention_.leave_a_gap();
  if (stop.kind == StopStatus::Kind::kSignal) task.signal_stop = stop.value;
  Result<MaybeStop> handled = handle(stop, limits);
  const auto found = tasks_.find(tid);
  if (!handled && handled.error().kind == ErrorKind::kGone && found != tasks_.end() &&
      !found->second->in_exit_stop) {
    // Somebody killed it between two requests: its end is to be heard of.
    RCHK_TRY_ASSIGN(const bool dying, is_dying(*found->second));
    if (!dying) {
      Error error = handled.error();
      error.kind = ErrorKind::kSystem;
      return Failure(std::move(error));
    }
    found->second->state = TaskState::kRunning;
    return MaybeStop();
  }
  if (!handled) return handled;
  if (found == tasks_.end() || found->second.get() != task_) return handled;
  // Any stop takes the place of the one that was asked for (kernel/signal.c, ptrace_stop).
  const bool replaced = std::exchange(task_->interrupt_in_flight, false);
  if (replaced && task_->call && task_->call->at_entry) task_->call->disturbed = true;
  const bool interrupted = replaced && interrupt_wanted_;
  if (*handled || !interrupted || task_->exit_recorded) return handled;
  if ((task_->call && !task_->call->at_entry) || stands_in_vsyscall()) {
    interrupt_wanted_ = false;  // asked again
    return handled;
  }
  if (task_->call) RCHK_TRY(take_call_back());
  if (!debugged(*task_)) RCHK_TRY(stand_in_first_process());
  return MaybeStop(RecorderStop{.cause = StopCause::kInterrupted});
}

// Makes the stop of another process one of the first, which waits in a call.
Result<void> Recorder::Impl::stand_in_first_process() {
  RCHK_TRY(leave_processor());
  auto first = tasks_.find(first_pid_);
  if (first == tasks_.end() || first->second->in_exit_stop) {
    first = std::find_if(tasks_.begin(), tasks_.end(), [this](const auto& one) {
      return debugged(*one.second) && one.second->announced && !one.second->in_exit_stop;
    });
  }
  if (first == tasks_.end()) return {};
  task_ = first->second.get();
  // One that has made another task may not have been let into the kernel's wait for that yet.
  const bool is_in_call = task_->call && !task_->call->at_entry && !task_->in_group_stop;
  const bool stands = task_->state == TaskState::kStopped && !task_->unread;
  if (is_in_call && stands) RCHK_TRY(resume(ResumeMode::kSyscall));
  return {};
}

// The processor pushed the trap flag that the single step had set.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::end_of_stepped_pushf(MaybeStop result) {
  constexpr uint8_t kTrapFlagInSecondByte = 1;
  RCHK_TRY_ASSIGN(const Registers after, task_->tracee.registers());
  uint8_t byte = 0;
  if (task_->tracee.read_memory({after.rsp + 1}, {&byte, 1}) == 1) {
    byte &= static_cast<uint8_t>(~kTrapFlagInSecondByte);
    RCHK_TRY(task_->tracee.write_memory({after.rsp + 1}, {&byte, 1}));
  }
  return result;
}

// The stop that was asked for comes before the trap of an instruction that has run already
// (kernel/signal.c, get_signal). Left in the kernel, the trap would seem to be the guest's own.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::end_of_interrupted_step(Result<MaybeStop> result,
                                                                          const RunLimits& limits) {
  const bool interrupted = result && *result && (*result)->cause == StopCause::kInterrupted;
  if (!interrupted || task_->call) return result;
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task_->tid));
  if ((status.pending & ~status.blocked & signal_bit(SIGTRAP)) == 0) return result;
  interrupt_wanted_ = false;  // asked again
  return advance(ResumeMode::kStep, limits);
}

// Lets one instruction of `task` run, be it a system call. Breakpoints are not in memory then, but
// they are while it waits, or others have their turn.
Result<RecorderStop> Recorder::Impl::step(Task& task, const RunLimits& limits) {
  Task* const stepped = &task;
  const pid_t tid = task.tid;
  for (;;) {
    if (tasks_.size() > 1) {
      RCHK_TRY_ASSIGN(const MaybeStop stop, schedule(limits));
      if (stop) return *stop;
    }
    if (finished_) return *finished_;
    if (tasks_.count(tid) == 0) return RecorderStop{.cause = StopCause::kStepped};
    if (task_ != stepped || task_->state != TaskState::kStopped || task_->unread ||
        task_->in_group_stop) {
      insert_breakpoints();
      Result<MaybeStop> stop = go_on(ResumeMode::kSyscall, limits);
      remove_breakpoints();
      if (!stop) return Failure(stop.error());
      if (*stop) return **stop;
      continue;
    }
    RCHK_TRY_ASSIGN(const Registers before, task_->tracee.registers());
    const bool in_call = task_->call || task_->delivery || task_->signal;
    if (!in_call && task_->space->breakpoints.is_hook(before.pc())) {
      RCHK_TRY_ASSIGN(const MaybeStop hit, perform_hook(before, limits));
      return hit ? *hit : RecorderStop{.cause = StopCause::kStepped};
    }
    const Instruction instruction = instruction_at(before.pc(), task_->tracee);
    ResumeMode mode = ResumeMode::kStep;
    if (task_->call || instruction.kind == InstructionKind::kSyscall ||
        instruction.kind == InstructionKind::kInt80) {
      mode = ResumeMode::kSyscall;  // PTRACE_SINGLESTEP does not stop at system calls
    } else if (instruction.kind == InstructionKind::kRepString) {
      mode = ResumeMode::kSyscall;
      step_target_ = {};
      step_target_.add(before.pc() + instruction.length);
      step_target_.insert_all(task_->tracee);
    }
    const uint64_t calls = calls_done_;
    const uint64_t events = event_count_;
    stepping_ = true;
    Result<MaybeStop> result = go_on(mode, limits);
    if (mode == ResumeMode::kStep) result = end_of_interrupted_step(std::move(result), limits);
    stepping_ = false;
    const bool alive = tasks_.count(tid) != 0;
    if (alive && !step_target_.empty()) step_target_.remove_all(stepped->tracee);
    step_target_ = {};
    if (!result) return Failure(result.error());
    if (*result && (*result)->cause == StopCause::kStepped &&
        instruction.kind == InstructionKind::kPushFlags && mode == ResumeMode::kStep) {
      RCHK_TRY_ASSIGN(*result, end_of_stepped_pushf(**result));
    }
    const bool here = alive && task_ == stepped;
    if (here && instruction.kind == InstructionKind::kPopFlags && *result &&
        (*result)->cause == StopCause::kInterrupted) {
      RCHK_TRY(drop_trap_flag(*stepped));
    }
    const bool traps =
        instruction.kind == InstructionKind::kTrapped || trace::kVsyscallPage.contains(before.pc());
    const bool trapped = here && event_count_ != events && traps;
    const bool ended = here && calls_done_ != calls && !task_->call;
    // The stop that was asked for may be the one that the instruction itself makes.
    const bool interrupted = *result && (*result)->cause == StopCause::kInterrupted;
    if (*result && !(interrupted && (ended || trapped))) return **result;
    if (!alive || ended || trapped) return RecorderStop{.cause = StopCause::kStepped};
  }
}

Result<void> Recorder::Impl::resume(ResumeMode mode) {
  Task& task = *task_;
  task.state = TaskState::kRunning;
  const bool from_entry = task.call && std::exchange(task.call->at_entry, false);
  if (task.in_group_stop) return task.tracee.listen();
  const int signal = task.signal ? task.signal->si_signo : 0;
  task.signal.reset();
  task.signal_reported = false;
  if (!task.call && !task.fatal_signal_recorded) task.behind_event = false;
  if (!task.call && task.space->agent) become_user_of_agent(task);
  // Its calls stop by themselves, but for those of the agent's. Under filters of others that takes
  // a stop more.
  const bool is_filtered =
      task.process->filtered && (task.space->agent || !task.tracee.passes_filters_from());
  if (mode == ResumeMode::kSyscall && is_filtered && !task.call) mode = ResumeMode::kContinue;
  RCHK_TRY(from_entry ? task.tracee.resume_call(signal) : task.tracee.resume(mode, signal));
  task.signal_stop = 0;
  return {};
}

// A stop that the recorder asked for, in a computation.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_interrupt() {
  RCHK_TRY_ASSIGN(const Registers registers, this->registers());
  if (!tracee::in_long_mode(registers)) return stop_at_32_bit_code(registers);
  if (holds() && task_->mask_while_held && monotonic_ns() >= task_->hold_until_ns &&
      !is_to_compute_on(task_->hold_until_ns)) {
    RCHK_TRY(release_held(trace::Place::kByState));
  } else if (others_can_run() && is_to_leave()) {
    if (stands_in_trap(registers)) return MaybeStop();
    RCHK_TRY(leave_processor());
    RCHK_TRY(snapshot_if_due());
  } else if (snapshot_is_overdue()) {
    RCHK_TRY(take_snapshot_in_computation());
  } else {
    return MaybeStop();
  }
  if (task_->behind_event) RCHK_TRY(begin_anew_if_wanted());
  return MaybeStop();
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::handle(const StopStatus& stop,
                                                         const RunLimits& limits) {
  task_->in_group_stop = false;
  switch (stop.kind) {
    case StopStatus::Kind::kSyscall:
      return task_->call ? on_call_exit(limits) : on_call_entry(limits);
    case StopStatus::Kind::kSignal:
      return on_signal(stop.value, limits);
    case StopStatus::Kind::kEvent:
      switch (stop.value) {
        case tracee::kEventExit:
          return on_exit_event();
        case tracee::kEventExec:
          return on_exec(limits);
        case tracee::kEventFork:
        case tracee::kEventVfork:
        case tracee::kEventClone:
          return on_new_task(limits);
        case tracee::kEventSeccomp:
          // Where all calls stop it has been heard of already.
          return task_->call ? MaybeStop() : on_call_entry(limits);
        default:
          return MaybeStop();
      }
    case StopStatus::Kind::kGroupStop:
      task_->in_group_stop = true;
      if (tasks_.size() > 1 && !task_->call) RCHK_TRY(leave_processor());
      return MaybeStop();
    case StopStatus::Kind::kInterrupted:  // or the end of a group stop
      if (task_->call || interrupt_wanted_ || !task_->interrupt_in_flight) return MaybeStop();
      return on_interrupt();
    case StopStatus::Kind::kExited:
    case StopStatus::Kind::kKilled:
      return on_gone(stop);
  }
  return MaybeStop();
}

// Whether a request failed for `task` because it has been killed. One that still stands in the stop
// that was dealt with has not: what failed was something else, and nobody would ever let it go on.
Result<bool> Recorder::Impl::is_dying(const Task& task) {
  // Before the stops are asked for: it may come to its last one at any time.
  const bool stands = state_in_kernel(task.tid) == 't';
  for (bool got = true; got;) {
    RCHK_TRY_ASSIGN(got, wait_for_any(false));
  }
  return task.unread || !stands;
}

// A guest that somebody killed makes any request fail: its end is still to be heard of. Anything
// else ends the recording only.
Result<RecorderStop> Recorder::Impl::recover(const Error& error) {
  if (finished_) return *finished_;
  Error last = error;
  while (last.kind == ErrorKind::kGone && task_ != nullptr) {
    if (!task_->in_exit_stop) {
      RCHK_TRY_ASSIGN(const bool dying, is_dying(*task_));
      if (!dying) break;
      task_->state = TaskState::kRunning;
    }
    const Result<MaybeStop> result = advance(ResumeMode::kSyscall, *limits_);
    if (finished_) return *finished_;
    if (result && *result) return **result;
    if (!result) last = result.error();
  }
  Result<RecorderStop> stopped = stop_recording(last.message());
  if (stopped) return stopped;
  return Failure(last);
}

}  // namespace rchk::record
