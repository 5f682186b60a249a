// The recording ends before the program does.

#include <cerrno>
#include <csignal>
#include <ctime>

#include <sys/wait.h>

#include "base/cpus.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;
namespace nr = syscalls::nr;

}  // namespace

Result<void> Recorder::Impl::restore_signal_stop() {
  if (!task_->signal) return {};
  const siginfo_t info = *task_->signal;
  // Behind a system call's stop a signal number is sent anew, without what came with it
  // (kernel/ptrace.c, ptrace_report_syscall).
  RCHK_TRY(task_->tracee.resume(ResumeMode::kContinue, info.si_signo));
  for (;;) {
    RCHK_TRY_ASSIGN(const StopStatus stop, task_->tracee.wait());
    if (stop.kind == StopStatus::Kind::kSignal && stop.value == info.si_signo) break;
    if (stop.is_gone() || stop.kind == StopStatus::Kind::kEvent) {
      return fail(ErrorKind::kGone, "the guest ended");
    }
    RCHK_TRY(task_->tracee.resume(ResumeMode::kContinue));
  }
  return task_->tracee.set_signal_info(info);
}

// Lets a task go on by itself, from outside of any call.
Result<void> Recorder::Impl::set_task_free(Task& task) {
  task_ = &task;
  // One that waits in a call is made to leave it, and makes it again.
  if (task.state == TaskState::kRunning && !task.unread) RCHK_TRY(task.tracee.interrupt());
  bool at_entry = false;  // of a call that has not begun
  while (task.state == TaskState::kRunning) {
    StopStatus stop;
    if (task.unread) {
      stop = *std::exchange(task.unread, std::nullopt);
    } else {
      RCHK_TRY_ASSIGN(stop, task.tracee.wait());
      RCHK_TRY_ASSIGN(stop, come_to_entry(task, stop));
    }
    if (stop.is_gone()) return fail(ErrorKind::kGone, "the task ended");
    at_entry = stop.kind == StopStatus::Kind::kSyscall && !task.call;
    if (stop.kind == StopStatus::Kind::kSyscall || stop.kind == StopStatus::Kind::kInterrupted) {
      task.state = TaskState::kStopped;
    } else if (stop.kind == StopStatus::Kind::kSignal) {
      RCHK_TRY_ASSIGN(task.signal, task.tracee.signal_info());
      task.state = TaskState::kStopped;
      RCHK_TRY(drop_own_trap());
    } else {
      task.in_group_stop |= stop.kind == StopStatus::Kind::kGroupStop;
      RCHK_TRY(task.tracee.resume(ResumeMode::kSyscall));
    }
  }
  if (at_entry) {
    RCHK_TRY_ASSIGN(const Registers registers, task.tracee.registers());
    task.call = call_at_entry(registers);
    RCHK_TRY(take_call_back());
  } else if (task.call) {
    RCHK_TRY_ASSIGN(Registers registers, task.tracee.registers());
    const auto result = static_cast<int64_t>(registers.rax);
    if (task.call->answer) {
      registers.rax = static_cast<uint64_t>(*task.call->answer);
      RCHK_TRY(task.tracee.set_registers(registers));
    } else if (is_restart(result) || result == -EINTR) {
      Registers again = task.call->before;
      // One that the kernel goes on with stores where it was told to first.
      const bool goes_on = result == kRestartBlock && !task.call->scratch;
      if (goes_on) again.rax = static_cast<uint64_t>(nr::restart_syscall);
      again.orig_rax = kNoCall;
      RCHK_TRY(task.tracee.set_registers(again));
    } else if (task.call->scratch) {
      RCHK_TRY(bring_back_stores(task, *task.call, registers));
    }
    task.call.reset();
  }
  if (task.mask_while_held) RCHK_TRY(task.tracee.set_signal_mask(*task.mask_while_held));
  if (!task.signal && holds()) task.signal = task.held.begin()->second.front();
  // A fork that was taken back has put them in again.
  if (task.space->breakpoints.inserted()) task.space->breakpoints.remove_all(task.tracee);
  take_patches_out(task);
  if (task.sandbox.mode() != syscalls::Sandbox::Mode::kNone) {
    say_once("The program's seccomp filters are not in force any more: rchk carried them out.");
  }
  if (task.process->vsyscalls_trapped) {
    say_once(
        "Should the program call the vsyscall page, SIGSYS ends it: a filter of rchk's stays.");
  }
  RCHK_TRY(set_free(task.tracee, task.space->confinement));
  RCHK_TRY(restore_signal_stop());
  if (contention_.crowded()) ask_for_slices(task.tid, 0);
  if (task.believed_scheduling) give_real_time(task.tid, *task.believed_scheduling);
  run_on(task.tid, allowed_cpus_);
  const int signal = task.signal ? task.signal->si_signo : 0;
  if (!task.process->filtered) return task.tracee.detach(signal);
  // Without a tracer the filter would make each of its calls fail (seccomp(2), SECCOMP_RET_TRACE).
  if (!task.tracee.suspend_filters()) {
    say_once("Each of its calls goes on being stopped by rchk, which stays until it has ended.");
  }
  // Unlike PTRACE_DETACH this ends a stop of its process.
  if (task.in_group_stop) ::kill(task.process->pid, SIGSTOP);
  follows_free_ = true;
  if (task.tracee.passes_filters_from()) {
    RCHK_TRY(task.tracee.resume(ResumeMode::kSyscall, signal));
    followed_.insert_or_assign(task.tid, Followed{std::move(task.tracee)});
    return {};
  }
  RCHK_TRY(task.tracee.resume(ResumeMode::kContinue, signal));
  task.tracee.forget();
  return {};
}

// From its stop to the next one, as if nobody traced it. One that has been killed will be heard of.
void Recorder::Impl::lead_on(pid_t pid, const StopStatus& stop) {
  const int signal = stop.kind == StopStatus::Kind::kSignal ? stop.value : 0;
  const bool in_group_stop = stop.kind == StopStatus::Kind::kGroupStop;
  if (!stops_by_signal_) {
    tracee::Tracee tracee = tracee::Tracee::adopt(pid);
    (void)(in_group_stop ? tracee.listen() : tracee.resume(ResumeMode::kContinue, signal));
    tracee.forget();
    return;
  }
  auto known = followed_.find(pid);
  if (known == followed_.end()) {
    known = followed_.emplace(pid, Followed{tracee::Tracee::adopt(pid)}).first;
    tracee::Tracee& made = known->second.tracee;
    const Result<Registers> now = made.registers();
    // The pc behind a call is in rcx (SDM vol. 2B, SYSCALL).
    if (now) made.pass_filters_from_birth(stops_by_signal_->shown_pc, {now->rcx});
  }
  auto& [tracee, in_call] = known->second;
  tracee.take_note(stop);
  if (stop.kind == StopStatus::Kind::kEvent && stop.value == tracee::kEventExec) in_call = true;
  if (in_group_stop) {
    (void)tracee.listen();
  } else if (stop.kind == StopStatus::Kind::kSyscall && !std::exchange(in_call, !in_call)) {
    (void)tracee.resume_call();
  } else {
    (void)tracee.resume(ResumeMode::kSyscall, signal);
  }
}

// Lets those go on that cannot be left alone, until all have ended. Returns the first process's
// status.
Result<StopStatus> Recorder::Impl::follow_to_end() {
  std::optional<StopStatus> end;
  for (;;) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) break;
    const StopStatus stop = tracee::decode_wait_status(status);
    if (!stop.is_gone()) {
      lead_on(pid, stop);
      continue;
    }
    if (pid == free_pid_) end = stop;
    if (const auto known = followed_.find(pid); known != followed_.end()) {
      known->second.tracee.forget();
      followed_.erase(known);
    }
  }
  if (!end) return fail_errno("waiting for the guest");
  return *end;
}

Result<RecorderStop> Recorder::Impl::stop_recording(std::string_view reason) {
  if (finished_) return *finished_;
  RecorderStop stop{.cause = StopCause::kRecordingStopped};
  stop.message = fmt::format("{}; the program goes on without being recorded", reason);
  remove_breakpoints();
  for (const auto& [tid, task] : tasks_) {
    if (task->state == TaskState::kStopped) Watchpoints::disarm(task->tracee, task->armed);
  }
  // Elsewhere than at a call or an event the guest stands where no position can tell.
  auto place = trace::ExitPlace::kUnknown;
  if (task_->call && task_->call->at_entry) {
    RCHK_TRY(take_call_back());
    if (tasks_.size() == 1) place = trace::ExitPlace::kAtCall;
  } else if (task_->signal && task_->signal_event_is_last && tasks_.size() == 1) {
    place = trace::ExitPlace::kAtEvent;
  }
  trace::ExitEvent event;
  event.reason = trace::ExitReason::kRecorderStopped;
  event.message = stop.message;
  event.place = place;
  RCHK_TRY_ASSIGN(event.registers, this->registers());
  event.registers.orig_rax = kNoCall;
  if (place != trace::ExitPlace::kUnknown && can_checksum_memory()) {
    RCHK_TRY_ASSIGN(event.memory, checksum_memory());
  }
  // The guest is let go before the log is written to: the log may be what failed.
  finished_ = stop;
  Task* const current = task_;
  Result<void> freed;
  // Those that stand in the midst of a call come to its end first; a vfork ends when its child goes
  // on. One that the recorder failed to deal with has come there.
  std::vector<Task*> in_order, in_calls;
  for (const auto& [tid, task] : tasks_) {
    const bool in_midst = task->state == TaskState::kStopped && !task->unread && task->call &&
                          !task->call->at_entry && !task->in_group_stop &&
                          !task->tracee.is_at_call_exit();
    if (in_midst && task->tracee.resume(ResumeMode::kSyscall)) task->state = TaskState::kRunning;
    (in_midst ? in_calls : in_order).push_back(task.get());
  }
  in_order.insert(in_order.end(), in_calls.begin(), in_calls.end());
  for (Task* const task : in_order) {
    task->space->reference.reset();
    const Result<void> one = set_task_free(*task);
    if (!one && one.error().kind != ErrorKind::kGone) freed = one;
  }
  task_ = current;
  bury_dying_copies();
  RCHK_TRY(freed);
  free_pid_ = first_pid_;
  follows_free_ |= !ending_.empty();  // their parents hear of them when their tracer has
  task_->exit_recorded = true;
  say(fmt::format("{}.", stop.message));
  const Result<void> logged = append(std::move(event));
  if (!logged && logged.error().message() != reason) say(logged.error().message());
  return stop;
}

Result<StopStatus> Recorder::Impl::wait_for_guest() {
  if (free_pid_ >= 0 && first_end_) {
    if (follows_free_) (void)follow_to_end();  // it had ended before
    StopStatus status{StopStatus::Kind::kExited, first_end_->status, false};
    if (first_end_->signal != 0) status = {StopStatus::Kind::kKilled, first_end_->signal, false};
    return status;
  }
  if (free_pid_ < 0) return fail(ErrorKind::kMisuse, "the guest is not running by itself");
  if (follows_free_) return follow_to_end();
  int status = 0;
  while (waitpid(free_pid_, &status, 0) != free_pid_) {
    if (errno != EINTR) return fail_errno("waiting for the guest");
  }
  free_pid_ = -1;
  return tracee::decode_wait_status(status);
}

}  // namespace rchk::record
