// Stops at calls of tasks that have the agent's filter, where filters of others are asked as well
// (docs/notes/agent.md).

#include <algorithm>
#include <csignal>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

// By each call that an agent makes.
constexpr uint64_t kSparedStops = 2;

}  // namespace

// Whether the agent's filter has kept a call from being made.
bool Recorder::Impl::is_trapped_call(const siginfo_t& info) const {
  return stops_by_signal_ && info.si_signo == SIGSYS && info.si_code == kSeccompCode &&
         info.si_errno == stops_by_signal_->data;
}

// Lets a task whose call has become a SIGSYS come to the stop at that call's entry, as if it had
// been let go on by PTRACE_SYSCALL. Other stops stay what they are.
Result<StopStatus> Recorder::Impl::come_to_entry(Task& task, StopStatus stop) {
  if (!task.tracee.passes_filters_from() || task.call) return stop;
  bool in_group_stop = stop.kind == StopStatus::Kind::kGroupStop;
  if (in_group_stop || stop.kind == StopStatus::Kind::kInterrupted) {
    // These come before the signal (kernel/signal.c, get_signal).
    const auto pending = task.tracee.pending_signals();
    const bool trapped =
        pending && std::any_of(pending->begin(), pending->end(),
                               [this](const siginfo_t& info) { return is_trapped_call(info); });
    if (!trapped) return stop;
    RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
    RCHK_TRY_ASSIGN(stop, task.tracee.wait());
  }
  if (stop.kind != StopStatus::Kind::kSignal || stop.value != SIGSYS) return stop;
  RCHK_TRY_ASSIGN(const siginfo_t info, task.tracee.signal_info());
  if (!is_trapped_call(info)) return stop;
  RCHK_TRY_ASSIGN(Registers before, task.tracee.registers());
  before.rip -= kSyscallInstructionBytes;
  before.rax = static_cast<uint64_t>(info.si_syscall);
  before.orig_rax = ~0ull;
  RCHK_TRY(task.tracee.set_registers(before));
  Task* const current = std::exchange(task_, &task);
  const Result<void> undone = undo_force(SIGSYS);
  task_ = current;
  RCHK_TRY(undone);
  RCHK_TRY_ASSIGN(const uint64_t mask, task.tracee.signal_mask());
  RCHK_TRY(task.tracee.set_signal_mask(~0ull));
  bool stops_later = false;
  for (;;) {
    RCHK_TRY(task.tracee.resume(ResumeMode::kSyscall));
    RCHK_TRY_ASSIGN(stop, task.tracee.wait());
    in_group_stop |= stop.kind == StopStatus::Kind::kGroupStop;
    const bool is_stop = stop.kind == StopStatus::Kind::kSignal && stop.value == SIGSTOP;
    stops_later |= is_stop;
    const bool goes_on = is_stop || stop.kind == StopStatus::Kind::kGroupStop ||
                         stop.kind == StopStatus::Kind::kInterrupted;
    if (!goes_on) break;
  }
  if (stop.is_gone()) return stop;
  RCHK_TRY(task.tracee.set_signal_mask(mask));
  if (stops_later) ::syscall(SYS_tgkill, task.process->pid, task.tid, SIGSTOP);
  if (in_group_stop) RCHK_TRY(task.tracee.interrupt());  // says that it still is
  return stop;
}

// Whether an agent spares stops: under filters of others each call that is not its own has one
// more.
bool Recorder::Impl::agent_pays(AgentUse& use) {
  if (!has_other_filters() || kSparedStops * (use.clock_calls + use.file_calls) >= use.calls) {
    return true;
  }
  use.calls = use.clock_calls = use.file_calls = 0;
  return false;
}

void Recorder::Impl::count_calls(Space& space, uint64_t of_agent, uint64_t others) const {
  constexpr int64_t kMost = 1000;
  if (!stops_by_signal_) return;
  int64_t& balance = space.agent_use.balance;
  balance += static_cast<int64_t>(kSparedStops * of_agent) - static_cast<int64_t>(others);
  balance = std::min(balance, kMost);
}

// Behind the event of a call. One that spares nothing any more may begin again.
Result<void> Recorder::Impl::end_agent_that_costs() {
  constexpr int64_t kPatience = 1000;
  Space& space = *task_->space;
  AgentUse& use = space.agent_use;
  if (!space.agent || use.balance > -kPatience) return {};
  trace::MemoryEvent event;
  RCHK_TRY(end_agent(*task_, {}, event.writes));
  use.balance = 0;
  use.calls = use.clock_calls = use.file_calls = 0;
  use.clock_tried = false;
  use.places_tried.clear();
  return append(std::move(event));
}

}  // namespace rchk::record
