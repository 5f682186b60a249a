// Whose turn it is (docs/notes/tasks.md). One task runs at a time; it leaves the processor only
// behind an event of its own.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include "base/check.h"
#include "engine/record/recorder_impl.h"
#include "engine/trace/vsyscall.h"

namespace rchk::record {

namespace {

constexpr uint64_t kSliceNs = 10'000'000;
constexpr uint64_t kLongestSliceNs = 200'000'000, kSliceOverSwitchCost = 20;
constexpr uint64_t kLongestEntangledNs = 200'000'000;
constexpr uint64_t kShortestPatienceNs = 500'000, kPatienceOverCost = 4;
constexpr uint64_t kShortestChaosSliceNs = 20'000, kLongestChaosSliceNs = 20'000'000;
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
  task.left_by_state_ns = 0;
  task.computes_since_ns = now_ns;
  slice_end_ns_ = task.computes_since_ns + slice_ns;
}

bool Recorder::Impl::is_to_leave() const {
  if (is_to_compute_on(slice_end_ns_)) return false;
  if (slice_is_over()) return true;
  return task_->patience_ns != 0 && monotonic_ns() - task_->computes_since_ns > task_->patience_ns;
}

// Whether task_ has run for as long as is right where leaving costs nothing, behind an event.
bool Recorder::Impl::is_turn_over() const {
  const uint64_t patience_ns = task_->patience_ns;
  const uint64_t turn_ns = patience_ns != 0 ? std::min(patience_ns, kSliceNs) : kSliceNs;
  return monotonic_ns() - task_->computes_since_ns > turn_ns;
}

// task_ is about to leave the processor to others without a call. Where it stands as it did when it
// last did so, it seems to wait for something that it has not got meanwhile.
void Recorder::Impl::note_where_left(const Registers& now) {
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
  task.behind_trap = false;
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

// Whether a debugger lets another thread of its process run alone.
bool Recorder::Impl::is_held_back(const Task& task) const {
  if (limits_ == nullptr || !limits_->alone || task.tid == limits_->task) return false;
  const auto chosen = tasks_.find(limits_->task);
  return chosen != tasks_.end() && chosen->second->process == task.process;
}

bool Recorder::Impl::others_can_run() const {
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_ || is_held_back(*task)) continue;
    if (task->can_run() || task->unread) return true;
  }
  return false;
}

// The task that has just been woken, if it goes before task_. As a kernel does it on one core:
// tasks that always woke each other too late would go round for ever (docs/notes/tasks.md).
Task* Recorder::Impl::woken_in_front() {
  const auto found = tasks_.find(std::exchange(woken_tid_, 0));
  if (found == tasks_.end() || found->second.get() == task_ || !found->second->can_run() ||
      is_held_back(*found->second)) {
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
  const bool here = task_->can_run() && !is_held_back(*task_);
  bool stays = here && !yielded_ && !slice_is_over();
  if (stays && !chaos_) {
    if (Task* const woken = woken_in_front()) return woken;
  }
  if (chaos_ && stays && (*chaos_)() % kChaosLeaveOneIn == 0) stays = false;
  if (stays && (chaos_ || !is_turn_over())) return task_;
  // Slices are long where leaving by state is dear: between those who leave behind events, which
  // costs nothing, they need not be. Who left by state comes again when a slice is over.
  std::vector<Task*> ready;
  const uint64_t now_ns = monotonic_ns(), whole_ns = whole_slice_ns();
  const auto add = [&](Task& task) {
    if (stays && &task != task_ && now_ns < task.left_by_state_ns + whole_ns) return;
    if (task.can_run() && !is_held_back(task)) ready.push_back(&task);
  };
  const auto own = tasks_.find(task_->tid);
  for (auto task = std::next(own); task != tasks_.end(); ++task) add(*task->second);
  for (auto task = tasks_.begin(); task != std::next(own); ++task) add(*task->second);
  if (ready.empty()) return nullptr;
  const bool leaves = stays && ready.front() != task_;
  if (leaves && task_->behind_trap) note_where_left(task_->last_registers);
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

// What it has stored comes before what others do next.
static bool has_ended_call(const Task& task) {
  return task.unread && task.unread->kind == tracee::StopStatus::Kind::kSyscall && task.call &&
         !task.call->at_entry;
}

// A debugger has chosen the task that is to run. Returns it, which may wait in a call.
Result<Task*> Recorder::Impl::choose_task(const RunLimits& limits) {
  // What the debugger took to think between two steps is nothing that task_ has computed.
  const bool goes_on = limits.single_step && paused_since_ns_ != 0;
  const uint64_t paused_ns = goes_on ? monotonic_ns() - paused_since_ns_ : 0;
  slice_end_ns_ += paused_ns;
  task_->computes_since_ns += paused_ns;
  const auto wanted = tasks_.find(limits.task);
  if (wanted == tasks_.end() || wanted->second.get() == task_ || !wanted->second->announced) {
    return task_;
  }
  const bool here = task_->state == TaskState::kStopped && !task_->unread && !task_->in_exit_stop;
  if (here && !task_->behind_event) RCHK_TRY(leave_processor());
  if (here && !task_->behind_event) return task_;
  Task& chosen = *wanted->second;
  if (chosen.can_run() && !chosen.unread) begin_slice(chosen);
  return &chosen;
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
      const bool counts = !is_held_back(*task) || has_ended_call(*task);
      if (task->unread && task->announced && counts) unread = task.get();
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
  uint64_t pages = 0;
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
      task.left_by_state_ns = monotonic_ns();
      yielded_ = true;
      note_where_left(event.registers);
      RCHK_TRY_ASSIGN(pages, take_state(event));
    }
  }
  task.last_registers = event.registers;
  const bool by_state = event.place == trace::Place::kByState;
  RCHK_TRY(append(std::move(event)));
  if (!by_state) return {};
  RCHK_TRY(renew_reference());
  switch_cost_ns_ = now_ns() - begin_ns + pages * kPageCopyNs;
  return {};
}

}  // namespace rchk::record
