// Whose turn it is (docs/notes/tasks.md). One task runs at a time; it leaves the processor only
// behind an event of its own.

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/check.h"
#include "engine/record/recorder_impl.h"
#include "engine/trace/vsyscall.h"

namespace rchk::record {

namespace {

using std::chrono::steady_clock;
using tracee::StopStatus;

constexpr uint64_t kSliceNs = 10'000'000;
constexpr uint64_t kLongestSliceNs = 200'000'000, kSliceOverSwitchCost = 20;
// For a task that may be about to store, on a machine where it gets no processor.
constexpr uint64_t kLongestWaitNs = 10'000'000'000;
constexpr uint64_t kLongestEntangledNs = 200'000'000;
// How long others wait for a disk that one reads much from.
constexpr uint64_t kLongestHoldNs = 1'000'000'000;
constexpr uint64_t kShortestPatienceNs = 500'000, kPatienceOverCost = 4;
// Copying a page that a reference shares, at the guest's first write to it (measured: 5 to 14 us).
constexpr uint64_t kPageCopyNs = 5'000;
constexpr uint64_t kShortestChaosSliceNs = 20'000, kLongestChaosSliceNs = 20'000'000;
constexpr uint64_t kChaosTickNs = 500'000, kHoldTickNs = 1'000'000, kTickNs = 5'000'000;
constexpr uint64_t kSnapshotTickNs = 250'000'000;
// A task that is woken comes first when it has run for so much less than the one that runs. However
// long it slept, it has no more than so much of that to its credit (as with kernel/sched/fair.c of
// Linux 6.1), and no such change comes sooner after the last.
constexpr uint64_t kLeadNs = 2'000'000, kMostCreditNs = 4'000'000, kPreemptionNs = 10'000'000;
// With random choices one point in so many at which a task could leave, it does.
constexpr uint64_t kChaosLeaveOneIn = 6;

// True if a task seems to go round in a small loop that changes next to nothing.
bool are_of_one_loop(const Registers& a, const Registers& b) {
  constexpr uint64_t kLoopBytes = 128;
  constexpr int kMostChanged = 3;
  if (a.rsp != b.rsp || a.rip - b.rip + kLoopBytes > 2 * kLoopBytes) return false;
  const int changed = (a.rax != b.rax) + (a.rbx != b.rbx) + (a.rcx != b.rcx) + (a.rdx != b.rdx) +
                      (a.rsi != b.rsi) + (a.rdi != b.rdi) + (a.rbp != b.rbp) + (a.r8 != b.r8) +
                      (a.r9 != b.r9) + (a.r10 != b.r10) + (a.r11 != b.r11) + (a.r12 != b.r12) +
                      (a.r13 != b.r13) + (a.r14 != b.r14) + (a.r15 != b.r15);
  return changed <= kMostChanged;
}

// The kernel marks the word of a priority-inheriting futex when somebody begins to wait
// (kernel/futex/pi.c, futex_lock_pi_atomic), and its owner looks for that mark.
bool writes_before_it_blocks(const syscalls::Call& call) {
  if (call.number != syscalls::nr::futex) return false;
  switch (static_cast<int>(call.arguments[1]) & FUTEX_CMD_MASK) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
      return true;
    default:
      return false;
  }
}

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

// Where to leave by state is dear, tasks run for longer.
uint64_t Recorder::Impl::whole_slice_ns() const {
  return std::clamp(switch_cost_ns_ * kSliceOverSwitchCost, kSliceNs, kLongestSliceNs);
}

void Recorder::Impl::begin_slice(Task& task) {
  const uint64_t now_ns = monotonic_ns();
  const auto before = tasks_.find(runs_tid_);
  if (before != tasks_.end()) before->second->run_ns += now_ns - runs_since_ns_;
  runs_tid_ = task.tid;
  runs_since_ns_ = now_ns;
  task_ = &task;
  yielded_ = false;
  uint64_t slice_ns = whole_slice_ns();
  if (chaos_) {
    // Evenly spread in orders of magnitude: races hide in short ones and in long ones.
    std::uniform_real_distribution<double> exponent(0, 1);
    const double span = static_cast<double>(kLongestChaosSliceNs) / kShortestChaosSliceNs;
    slice_ns = static_cast<uint64_t>(kShortestChaosSliceNs * std::pow(span, exponent(*chaos_)));
  }
  task.computes_since_ns = now_ns;
  slice_end_ns_ = task.computes_since_ns + slice_ns;
}

bool Recorder::Impl::is_to_leave() const {
  if (is_to_compute_on(slice_end_ns_)) return false;
  if (slice_is_over()) return true;
  return task_->patience_ns != 0 && monotonic_ns() - task_->computes_since_ns > task_->patience_ns;
}

// task_ is about to leave the processor to others at a state. Where it stands as it did when it
// last did so, it seems to wait for something that it has not got meanwhile.
void Recorder::Impl::note_left_computing(const Registers& now) {
  yielded_ = true;
  const bool waits = task_->left_at && are_of_one_loop(*task_->left_at, now);
  const uint64_t whole_ns = whole_slice_ns();
  const uint64_t patience_ns = task_->patience_ns != 0 ? task_->patience_ns : whole_ns;
  const uint64_t next_ns = waits ? patience_ns / 4 : patience_ns * 2;
  const uint64_t shortest_ns = std::max(kShortestPatienceNs, switch_cost_ns_ * kPatienceOverCost);
  task_->patience_ns = next_ns < whole_ns ? std::max(next_ns, shortest_ns) : 0;
  task_->left_at = now;
}

// One that makes a call as soon as others have run has waited for them.
void Recorder::Impl::note_call() {
  Task& task = *task_;
  if (!task.left_at && task.patience_ns == 0) return;
  const uint64_t now_ns = monotonic_ns();
  const uint64_t patience_ns = task.patience_ns != 0 ? task.patience_ns : whole_slice_ns();
  if (std::exchange(task.left_at, std::nullopt) &&
      now_ns - task.computes_since_ns < patience_ns / 4) {
    task.patience_ns = std::max(patience_ns / 4, kShortestPatienceNs);
  }
  task.computes_since_ns = now_ns;
}

// Whether a task of task_'s memory is in a call that nothing says what it stores of.
bool Recorder::Impl::runs_beside_unknown_call() const {
  return std::any_of(tasks_.begin(), tasks_.end(), [this](const auto& other) {
    const Task& task = *other.second;
    return &task != task_ && task.space == task_->space && task.call && task.call->pages_before;
  });
}

// Such a call's event is all that differs at its end, which must not be what task_ is in the middle
// of. So task_ goes on to an event of its own, for a while: it may wait for what the call does.
// `due_ns`: since when it is to leave.
bool Recorder::Impl::is_to_compute_on(uint64_t due_ns) const {
  if (task_->behind_event || !runs_beside_unknown_call()) return false;
  return monotonic_ns() < due_ns + kLongestEntangledNs;
}

bool Recorder::Impl::slice_is_over() const { return monotonic_ns() >= slice_end_ns_; }

// Whether task_ has executed an int3 of the recorder's, and the trap is yet to be heard of: a stop
// that was asked for comes first (kernel/signal.c, get_signal). Or so it is with a call of the
// vsyscall page.
bool Recorder::Impl::stands_in_trap(const Registers& now) const {
  if (trace::kVsyscallPage.contains(now.pc()) || stands_in_vsyscall()) return true;
  const Breakpoints& breakpoints = task_->space->breakpoints;
  const GuestAddress before{now.rip - 1};
  return breakpoints.inserted() && (breakpoints.contains(before) || breakpoints.is_hook(before));
}

// Behind an int3 whose signal is yet to come, or that SIGKILL came before, the guest stands in
// front of it. (Other traps leave the pc at their instruction, or behind one that has run.)
Result<Registers> Recorder::Impl::registers_at_place() const {
  RCHK_TRY_ASSIGN(Registers now, registers());
  now.orig_rax = kNoCall;
  bool trapped = task_->signal_stop == SIGTRAP;
  RCHK_TRY_ASSIGN(const auto pending, task_->tracee.pending_signals());
  for (const siginfo_t& info : pending) {
    trapped |= info.si_signo == SIGTRAP && info.si_code == SI_KERNEL;
  }
  constexpr uint8_t kInt3 = 0xcc, kInt = 0xcd, kBreakpointVector = 3;
  uint8_t before[2] = {};
  if (!trapped || task_->tracee.read_memory({now.rip - 2}, before) != sizeof(before)) return now;
  if (before[1] == kInt3) {
    now.rip -= 1;
  } else if (before[0] == kInt && before[1] == kBreakpointVector) {
    now.rip -= 2;
  }
  return now;
}

bool Recorder::Impl::others_can_run() const {
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_) continue;
    if (task->can_run() || task->unread) return true;
  }
  return false;
}

// Whether others are to wait for what a task reads.
bool Recorder::Impl::waits_for_disk(const Task& task) const {
  return task.call && task.call->holds_processor && state_in_kernel(task.tid) == 'D' &&
         now_ns() < task.call->entered_ns + kLongestHoldNs;
}

// True if a task that was let go on waits in the kernel (proc(5), /proc/PID/stat), and others may
// run meanwhile.
bool Recorder::Impl::sleeps(const Task& task) const {
  if (waits_for_disk(task)) return false;
  const char state = state_in_kernel(task.tid);
  return state == 'S' || state == 'D' || ((state == 't' || state == 'T') && task.in_group_stop);
}

// The task that has just been woken, if it goes before task_. As a kernel does it on one core:
// tasks that always woke each other too late would go round for ever (docs/notes/tasks.md).
Task* Recorder::Impl::woken_in_front() {
  const auto found = tasks_.find(std::exchange(woken_tid_, 0));
  if (found == tasks_.end() || found->second.get() == task_ || !found->second->can_run()) {
    return nullptr;
  }
  Task& woken = *found->second;
  const uint64_t now_ns = monotonic_ns();
  uint64_t own_ns = task_->run_ns;
  if (runs_tid_ == task_->tid) own_ns += now_ns - runs_since_ns_;
  woken.run_ns = std::max(woken.run_ns, own_ns - std::min(own_ns, kMostCreditNs));
  if (woken.run_ns + kLeadNs > own_ns || now_ns < next_preemption_ns_) return nullptr;
  next_preemption_ns_ = now_ns + kPreemptionNs;
  return &woken;
}

Task* Recorder::Impl::next_in_turn() {
  const bool here = task_->can_run();
  bool stays = here && !yielded_ && !slice_is_over();
  if (stays && !chaos_) {
    if (Task* const woken = woken_in_front()) return woken;
  }
  if (chaos_ && stays && (*chaos_)() % kChaosLeaveOneIn == 0) stays = false;
  if (stays) return task_;
  std::vector<Task*> ready;
  const auto add = [&ready](Task& task) {
    if (task.can_run()) ready.push_back(&task);
  };
  const auto own = tasks_.find(task_->tid);
  for (auto task = std::next(own); task != tasks_.end(); ++task) add(*task->second);
  for (auto task = tasks_.begin(); task != std::next(own); ++task) add(*task->second);
  if (ready.empty()) return nullptr;
  return chaos_ ? ready[(*chaos_)() % ready.size()] : ready.front();
}

// How long its processes have had a processor.
uint64_t Recorder::Impl::program_ns() const {
  std::set<pid_t> done;
  uint64_t total_ns = 0;
  for (const auto& [tid, task] : tasks_) {
    const pid_t process = task->process->pid;
    clockid_t clock = 0;
    timespec used{};
    if (!done.insert(process).second || clock_getcpuclockid(process, &clock) != 0) continue;
    if (syscall(SYS_clock_gettime, clock, &used) != 0) continue;
    total_ns +=
        static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
  }
  return total_ns;
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
    const bool is_long = waited_ns >= kLongestSliceNs / 2;
    bool busy = false, have_run = is_long;
    for (const auto& [tid, task] : tasks_) {
      const bool runs = task.get() != current && task->state == TaskState::kRunning &&
                        !task->unread && state_in_kernel(tid) == 'R';
      if (!runs) continue;
      busy = true;
      if (!is_long) break;
      const uint64_t run_ns = run_time_ns(tid).value_or(UINT64_MAX);
      const uint64_t first_ns = first_run_ns.try_emplace(tid, run_ns).first->second;
      have_run = have_run && (run_ns == UINT64_MAX || run_ns - first_ns >= kLongestSliceNs / 4);
    }
    wait = busy && waited_ns < (have_run ? kLongestSliceNs : kLongestWaitNs);
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

Result<Recorder::Impl::MaybeStop> Recorder::Impl::schedule(const RunLimits& limits) {
  if (std::exchange(fed_others_, false)) RCHK_TRY(let_fed_tasks_finish());
  for (;;) {
    for (;;) {
      RCHK_TRY_ASSIGN(const bool got, wait_for_any(false));
      if (!got) break;
    }
    // What it did since its last event comes first.
    if (!task_->behind_event) return MaybeStop();
    Task* unread = nullptr;
    for (const auto& [tid, task] : tasks_) {
      if (task->unread && task->announced) unread = task.get();
    }
    if (unread != nullptr) {
      Task* const current = task_;
      const pid_t current_tid = task_->tid;
      woken_tid_ = unread->tid;
      RCHK_TRY_ASSIGN(MaybeStop stop, read_stop(*unread, limits));
      if (stop || finished_) return stop;
      const auto found = tasks_.find(current_tid);
      // One that has to get behind an event goes on at once.
      const bool back = found != tasks_.end() && found->second.get() == current &&
                        task_->behind_event && task_ != current;
      if (back) task_ = current;
      continue;
    }
    Task* const next = next_in_turn();
    if (next == nullptr) return MaybeStop();  // task_ waits, and all others do
    if (next != task_ || slice_is_over() || yielded_) begin_slice(*next);
    return MaybeStop();
  }
}

Result<bool> Recorder::Impl::wait_for_any(bool block) {
  // Other children of this process are left alone where that is possible: what replays have.
  const bool alone = tasks_.size() == 1 && task_->tid == task_->process->pid;
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
      task->tracee.forget();
      task->tracee = tracee::Tracee::adopt(got);
      task->tid = got;
      found = tasks_.emplace(got, std::move(task)).first;
    }
  }
  if (found == tasks_.end()) {
    if (!stop.is_gone()) unknown_[got] = stop;
    return true;
  }
  found->second->tracee.take_note(stop);
  found->second->unread = stop;
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

Result<bool> Recorder::Impl::wait_for_stop(const RunLimits& limits) {
  for (bool waited = false;; waited = true) {
    if (task_->unread) return true;
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

// As one that comes back to its own instruction.
Result<void> Recorder::Impl::add_call_made_again(Task& task, const PendingCall& call,
                                                 const std::vector<AddressRange>& stored) {
  std::vector<trace::MemoryWrite> writes;
  for (const AddressRange& range : stored) {
    trace::MemoryWrite write{range.begin, Bytes(range.size())};
    write.bytes.resize(task.tracee.read_memory(range.begin, write.bytes));
    if (!write.bytes.empty()) writes.push_back(std::move(write));
  }
  return add_call_made_again(task, call, std::move(writes));
}

Result<void> Recorder::Impl::add_call_made_again(Task& task, const PendingCall& call,
                                                 std::vector<trace::MemoryWrite> writes) {
  trace::SyscallEvent event;
  event.number = call.entry.call.number;
  event.before = call.before;
  event.after = call.before;
  event.writes = std::move(writes);
  task.last_registers = call.before;
  return append_of(task, std::move(event));
}

Result<void> Recorder::Impl::leave_processor() {
  Task& task = *task_;
  if (task.behind_event) return {};
  const uint64_t begin_ns = now_ns();
  trace::SwitchEvent event;
  if (task.call && writes_before_it_blocks(task.call->entry.call)) {
    const GuestAddress word{task.call->entry.call.arguments[0]};
    return add_call_made_again(task, *task.call, {range_of(word, sizeof(uint32_t))});
  }
  if (task.call) {
    event.registers = task.call->before;
  } else if (task.interrupted) {
    event.registers = task.interrupted->call.before;
  } else {
    RCHK_TRY_ASSIGN(event.registers, registers_at_place());
    const bool at_call = task.restarted && event.registers.rip == task.restarted->before.rip;
    if (!at_call) {
      event.place = trace::Place::kByState;
      note_left_computing(event.registers);
      RCHK_TRY(take_state(event));
    }
  }
  task.last_registers = event.registers;
  const bool by_state = event.place == trace::Place::kByState;
  uint64_t pages = 0;
  for (const trace::PageContents& run : event.dirty) pages += run.bytes.size() / kPageSize;
  RCHK_TRY(append(std::move(event)));
  if (!by_state) return {};
  RCHK_TRY(renew_reference());
  switch_cost_ns_ = now_ns() - begin_ns + pages * kPageCopyNs;
  return {};
}

}  // namespace rchk::record
