// Waits for what tasks do: their stops, and calls that are to come to their end
// (docs/notes/tasks.md).

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>

#include <sys/wait.h>

#include "engine/record/contention.h"
#include "engine/record/process.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using std::chrono::steady_clock;
using tracee::StopStatus;

// How long a call that the kernel is busy with is waited for; and one that may be about to store,
// on a machine where it gets no processor.
constexpr uint64_t kLongestBusyNs = 200'000'000, kLongestWaitNs = 10'000'000'000;
// How long others wait for a disk that one reads much from.
constexpr uint64_t kLongestHoldNs = 1'000'000'000;
constexpr uint64_t kChaosTickNs = 500'000, kHoldTickNs = 1'000'000, kTickNs = 5'000'000;
constexpr uint64_t kSnapshotTickNs = 250'000'000;

}  // namespace

bool may_block(const PendingCall& call) {
  const syscalls::Syscall* row = syscalls::find(call.entry.call.number);
  if (call.answer) return false;
  if (row == nullptr) return true;
  switch (row->call_class) {
    case syscalls::Class::kBlocks:
    case syscalls::Class::kLife:
    case syscalls::Class::kSignals:
      return true;
    case syscalls::Class::kOutputs:
    case syscalls::Class::kAddressSpace:
    case syscalls::Class::kRefused:
      return false;
  }
  return true;
}

// Whether others are to wait for what a task reads, or for what the kernel stores at its execve.
bool Recorder::Impl::waits_for_disk(const Task& task) const {
  if (!task.call) return false;
  // Other threads of a process that executes a program end first, and are let go on to that.
  const bool writes = !task.call->words_left.empty() && live_tasks_of(*task.process) == 1;
  return (task.call->holds_processor || writes) && state_in_kernel(task.tid) == 'D' &&
         now_ns() < task.call->entered_ns + kLongestHoldNs;
}

// True if a task that was let go on waits in the kernel (proc(5), /proc/PID/stat), and others may
// run meanwhile.
bool Recorder::Impl::sleeps(const Task& task) const {
  if (waits_for_disk(task)) return false;
  const char state = state_in_kernel(task.tid);
  return state == 'S' || state == 'D' || ((state == 't' || state == 'T') && task.in_group_stop);
}

// Lets a task that the kernel is busy with run: all share the core.
void Recorder::Impl::let_run() {
  const bool was_crowded = contention_.crowded();
  contention_.let_run();
  const bool crowded = contention_.crowded();
  if (crowded == was_crowded) return;
  for (const auto& [tid, task] : tasks_) ask_for_slices(tid, crowded ? kCrowdedSliceNs : 0);
}

// Lets calls of task_'s fellows that its own call has ended come to their end, so that what they
// store is in the log before task_ can look at it.
Result<void> Recorder::Impl::let_fed_tasks_finish() {
  const bool waited_for = std::any_of(tasks_.begin(), tasks_.end(), [this](const auto& other) {
    return other.second->state == TaskState::kRunning && other.second->space == task_->space;
  });
  if (!waited_for) return {};
  // Beside other programs they need not have come to run.
  if (contention_.crowded()) return let_calls_come_to_rest();
  let_run();
  return {};
}

// Until no call but task_'s is in the middle of storing. One that the kernel is busy with for long
// is not waited for, unlike one that only waits for a processor.
Result<void> Recorder::Impl::let_calls_come_to_rest() {
  const Task* const current = task_;
  const uint64_t begin_ns = monotonic_ns();
  std::map<pid_t, uint64_t> first_run_ns;
  for (bool wait = true; wait;) {
    for (bool got = true; got;) {
      RCHK_TRY_ASSIGN(got, wait_for_any(false));
    }
    const uint64_t waited_ns = monotonic_ns() - begin_ns;
    const bool is_long = waited_ns >= kLongestBusyNs / 2;
    bool busy = false, have_run = is_long;
    for (const auto& [tid, task] : tasks_) {
      const bool runs = task.get() != current && task->state == TaskState::kRunning &&
                        !task->unread && state_in_kernel(tid) == 'R';
      if (!runs) continue;
      busy = true;
      if (!is_long) break;
      const uint64_t run_ns = run_time_ns(tid).value_or(UINT64_MAX);
      const uint64_t first_ns = first_run_ns.try_emplace(tid, run_ns).first->second;
      have_run = have_run && (run_ns == UINT64_MAX || run_ns - first_ns >= kLongestBusyNs / 4);
    }
    wait = busy && waited_ns < (have_run ? kLongestBusyNs : kLongestWaitNs);
    if (wait) let_run();
  }
  return {};
}

// What they stored is in memory already, where task_'s state is about to be taken from. task_ has
// made no call since its last event, so that nothing of theirs hangs on what it did. Of those that
// stored to scratch task_ has not seen anything in what it has computed: theirs come behind that.
Result<bool> Recorder::Impl::log_ended_calls() {
  if (tasks_.size() == 1) return false;
  Task* const current = task_;
  RCHK_TRY(let_calls_come_to_rest());
  // Looked for anew each time: a page snapshot behind the event of one writes those of others.
  const auto has_ended = [current](const auto& other) {
    const Task& task = *other.second;
    return &task != current && task.announced && task.unread &&
           task.unread->kind == StopStatus::Kind::kSyscall && task.call && !task.call->at_entry &&
           (current->behind_event || !task.call->scratch);
  };
  bool logged = false;
  for (;; logged = true) {
    const auto ended = std::find_if(tasks_.begin(), tasks_.end(), has_ended);
    if (ended == tasks_.end()) return logged;
    RCHK_TRY(read_stop(*ended->second, *limits_));
    task_ = current;
  }
}

Result<bool> Recorder::Impl::wait_for_any(bool block) {
  // Other children of this process are left alone where that is possible: what replays have.
  const bool alone = tasks_.size() == 1 && task_->tid == task_->process->pid && ending_.empty() &&
                     dying_copies_.empty();
  int status = 0;
  const pid_t got = waitpid(alone ? task_->tid : -1, &status, __WALL | (block ? 0 : WNOHANG));
  if (got == 0) return false;
  if (got < 0) {
    if (errno == EINTR) return false;
    return fail_errno("waiting for the guest");
  }
  const StopStatus stop = tracee::decode_wait_status(status);
  auto found = tasks_.find(got);
  if (stop.kind == StopStatus::Kind::kEvent && stop.value == tracee::kEventExec) {
    // A thread that executes a program gets the process's pid, whoever had it (ptrace(2)).
    uint64_t former = static_cast<uint64_t>(got);
    tracee::Tracee leader = tracee::Tracee::adopt(got);
    if (const auto message = leader.event_message()) former = *message;
    leader.forget();
    const auto executing = tasks_.find(static_cast<pid_t>(former));
    if (executing != tasks_.end() && executing != found) {
      std::unique_ptr<Task> task = std::move(executing->second);
      tasks_.erase(executing);
      if (found != tasks_.end()) {
        if (task_ == found->second.get()) task_ = task.get();
        found->second->tracee.forget();
        tasks_.erase(found);
      }
      const auto passes_from = task->tracee.passes_filters_from();
      task->tracee.forget();
      task->tracee = tracee::Tracee::adopt(got);
      task->tracee.pass_filters_from(passes_from);
      task->tid = got;
      found = tasks_.emplace(got, std::move(task)).first;
    }
  }
  if (found == tasks_.end()) {
    if (dying_copies_.count(got) != 0) {
      note_dying_copy(got, stop);
    } else if (stop.is_gone()) {
      ending_.erase(got);
    } else {
      unknown_[got] = stop;
    }
    return true;
  }
  Task& task = *found->second;
  task.tracee.take_note(stop);
  const Result<StopStatus> at_entry = come_to_entry(task, stop);
  if (!at_entry && at_entry.error().kind == ErrorKind::kGone) return true;  // to be heard of
  RCHK_TRY_ASSIGN(task.unread, at_entry);
  RCHK_TRY(settle_agent(task));
  return true;
}

Result<void> Recorder::Impl::interrupt_if_asked(const RunLimits& limits) {
  if (interrupt_wanted_) return {};
  const uint64_t now_ns = monotonic_ns();
  if (now_ns < next_poll_ns_) return {};
  next_poll_ns_ = now_ns + kTickNs;
  const steady_clock::time_point now{std::chrono::nanoseconds(now_ns)};
  bool asked = limits.deadline && now >= *limits.deadline && debugged(*task_);
  if (limits.interrupt_requested) {
    const TscMirror::Pause pause(tsc_mirror_);
    asked |= limits.interrupt_requested();
  }
  if (!asked) return {};
  interrupt_wanted_ = true;
  if (!task_->interrupt_in_flight) RCHK_TRY(task_->tracee.interrupt());
  task_->interrupt_in_flight = true;
  return {};
}

// What has to be looked at now and then while task_ runs.
Result<void> Recorder::Impl::on_tick(const RunLimits& limits, bool contended, bool waited) {
  const bool polled = limits.interrupt_requested || limits.deadline;
  const bool holding = holds() && task_->mask_while_held && !task_->call;
  const bool computes = options_.snapshot_overhead_percent != 0;
  uint64_t period_ns = polled || contended ? kTickNs : 0;
  if (period_ns == 0 && computes)
    period_ns = std::max(snapshot_rate().interval_or(kSnapshotTickNs), kTickNs);
  if (contended && task_->patience_ns != 0) period_ns = std::min(kTickNs, task_->patience_ns);
  if (contended && chaos_) period_ns = kChaosTickNs;
  if (holding) period_ns = kHoldTickNs;
  // While there is one, each page that the guest stores to is copied.
  release_held_forks();
  if (!held_forks_.empty()) period_ns = period_ns == 0 ? kTickNs : std::min(period_ns, kTickNs);
  ticker_.set_period(period_ns);
  if (period_ns == 0) return {};
  // A guest that makes many system calls may keep the tick from ever coming here.
  if (polled) RCHK_TRY(interrupt_if_asked(limits));
  if (task_->call || task_->interrupt_in_flight || task_->in_group_stop) return {};
  const bool due = (holding && monotonic_ns() >= task_->hold_until_ns) ||
                   (contended && is_to_leave()) || (waited && snapshot_is_overdue());
  if (!due) return {};
  RCHK_TRY(task_->tracee.interrupt());
  task_->interrupt_in_flight = true;
  return {};
}

// Whether a leader is dead that nobody will tell of before its other threads are: SIGKILL came in
// front of its being let go on, which it then was out of its last stop.
bool Recorder::Impl::is_unheard_of(const Task& task) const {
  return task.tid == task.process->pid && tasks_.size() > 1 && state_in_kernel(task.tid) == 'Z';
}

Result<bool> Recorder::Impl::wait_for_stop(const RunLimits& limits) {
  for (bool waited = false;; waited = true) {
    if (task_->unread) return true;
    if (waited && is_unheard_of(*task_)) {
      task_->unread = StopStatus{StopStatus::Kind::kKilled, SIGKILL, false};
      return true;
    }
    const bool contended = tasks_.size() > 1 && others_can_run();
    const Result<void> ticked = on_tick(limits, contended, waited);
    if (!ticked && ticked.error().kind != ErrorKind::kGone) return Failure(ticked.error());
    const bool in_kernel = task_->call || task_->in_group_stop;
    if (!contended || !in_kernel) {
      RCHK_TRY(wait_for_any(true));
      continue;
    }
    // Lets it run in the kernel until it stops or sleeps: all share the core.
    const bool soon = task_->call && (!may_block(*task_->call) || waits_for_disk(*task_));
    bool got = false;
    if (soon) {
      RCHK_TRY_ASSIGN(got, wait_for_any(true));
    } else {
      let_run();
      RCHK_TRY_ASSIGN(got, wait_for_any(false));
    }
    if (got || !sleeps(*task_)) continue;
    RCHK_TRY_ASSIGN(got, wait_for_any(false));
    if (got) continue;
    if (task_->call && task_->call->holds_processor) {
      say_once(
          "A task waits long for a file that it reads, and others run meanwhile: a replay may "
          "differ where they look at what it is about to get.");
    }
    RCHK_TRY(leave_processor());
    return false;
  }
}

}  // namespace rchk::record
