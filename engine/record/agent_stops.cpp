// What an agent has written down, at the stops of those who use it (agent.h).

#include <csignal>

#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

constexpr uint8_t kInt3 = 0xcc;

// Raised by an instruction.
bool is_fault(int signal, const siginfo_t& info) {
  return (signal_bit(signal) & kFaultSignals) != 0 && info.si_code > 0;
}

// Where bytes of a guest are replaced for a moment.
class Replaced {
 public:
  static Result<Replaced> by_int3(tracee::Tracee& tracee, GuestAddress address) {
    Replaced one{address};
    if (tracee.read_memory(address, {&one.kept_, 1}) != 1) {
      return fail(ErrorKind::kGone, "the agent's code is gone");
    }
    RCHK_TRY(tracee.write_memory(address, {&kInt3, 1}));
    return one;
  }
  GuestAddress address() const { return address_; }
  uint8_t kept() const { return kept_; }

 private:
  explicit Replaced(GuestAddress address) : address_(address) {}
  GuestAddress address_;
  uint8_t kept_ = 0;
};

// From `finished`: no debugger and no handler is to find a task there, for nothing says how to
// unwind its stack.
void go_back_to_caller(const tracee::Tracee& tracee, const AgentCode& code, Registers& now) {
  switch (code.exit) {
    case AgentCode::Exit::kJumps:
      now.rip = code.behind.value;
      return;
    case AgentCode::Exit::kJumpsToRcx:
      now.rip = now.rcx;
      return;
    case AgentCode::Exit::kReturns:
      break;
  }
  uint64_t caller = 0;
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&caller), sizeof(caller)};
  if (tracee.read_memory({now.rsp}, bytes) != sizeof(caller)) return;
  now.rip = caller;
  now.rsp += sizeof(caller);
}

}  // namespace

// At a stop of `task` that nothing has been done about yet: what the agent has written down since
// the last stop in its memory comes first.
Result<void> Recorder::Impl::settle_agent(Task& task) {
  if (!task.space->agent || task.call || task.unread->is_gone()) return {};
  switch (task.unread->kind) {
    case StopStatus::Kind::kEvent:
      // Behind an execve the memory is another one.
      return task.unread->value == tracee::kEventExec ? Result<void>() : settle_agent_at(task);
    case StopStatus::Kind::kSignal:
    case StopStatus::Kind::kGroupStop:
    case StopStatus::Kind::kInterrupted:
      return settle_agent_at(task);
    default:
      return read_agent_calls(*task.space);
  }
}

Result<void> Recorder::Impl::settle_agent_at(Task& task) {
  const auto is_dying = [&task] {
    return task.unread->kind == StopStatus::Kind::kEvent &&
           task.unread->value == tracee::kEventExit;
  };
  // Copied: what it is told next may end it.
  const Agent agent = *task.space->agent;
  if (!is_dying()) {
    const Result<Registers> now = task.tracee.registers();
    const AgentCode* const code = now ? agent.within(now->pc()) : nullptr;
    if (code != nullptr) {
      const Result<void> left = leave_agent(task, *code);
      if (!left && left.error().kind != ErrorKind::kGone) return left;
    }
  }
  RCHK_TRY(read_agent_calls(*task.space));
  if (!is_dying()) return {};
  Result<Registers> now = task.tracee.registers();
  if (!now) return {};
  for (const auto& [number, part] : agent.code) {
    const GuestAddress before = now->pc() - 1;
    if (before != part.finished && before != part.traced) continue;
    now->rip = before.value;  // it was killed at a trap of the recorder's
    RCHK_TRY(task.tracee.set_registers(*now));
    break;
  }
  const AgentCode* const code = agent.within(now->pc());
  if (code == nullptr || !code->has_called(now->pc())) return {};
  // A call has been made that nobody knows the result of: no replay comes to what is behind it.
  task.place_lost = true;
  task.behind_event = true;
  return {};
}

Result<void> Recorder::Impl::read_agent_calls(Space& space) {
  Agent& agent = *space.agent;
  const auto user = tasks_.find(agent.user);
  if (user == tasks_.end() || user->second->space.get() != &space) return {};
  Task& task = *user->second;
  uint8_t head[sizeof(uint32_t)];
  if (task.tracee.read_memory(agent.ring, head) != sizeof(head)) return {};
  const uint32_t calls = agent_calls(head);
  if (calls == agent.calls_read) return {};
  count_calls(space, calls - agent.calls_read, 0);
  Bytes ring(Agent::ring_bytes());
  if (task.tracee.read_memory(agent.ring, ring) != ring.size()) return {};
  while (agent.calls_read != calls) {
    ++agent.calls_read;
    auto made = agent_event(agent, ring, agent.calls_read, task.last_registers);
    if (!made || agent.calls_read == agent.call_told) continue;
    task.last_registers = made->event.after;
    if (made->data) {
      trace::MemoryWrite write{{made->event.after.rsi}, Bytes(made->data->size())};
      write.bytes.resize(task.tracee.read_memory(made->data->begin, write.bytes));
      made->event.writes.push_back(std::move(write));
    }
    // No later than it was: how far a replay looks for a state goes by the time since. Nobody else
    // has run.
    RCHK_TRY(append_at(last_event_ns_, task, std::move(made->event)));
  }
  // It has run on since.
  task.behind_event = false;
  task.pending_at_event = 0;
  task.place_now.reset();
  return {};
}

// From now on the calls in the ring are of `task`.
void Recorder::Impl::become_user_of_agent(Task& task) {
  Agent& agent = *task.space->agent;
  const pid_t before = std::exchange(agent.user, task.tid);
  if (before == task.tid || before < 0 || tasks_.contains(before)) return;
  // SIGKILL ended that one where nobody heard of it: what it had not told is lost.
  uint8_t head[sizeof(uint32_t)];
  if (task.tracee.read_memory(agent.ring, head) == sizeof(head)) {
    agent.calls_read = agent_calls(head);
  }
}

// Lets a task that stopped while it uses the ring go on until it does not, and be stopped there as
// it was.
Result<void> Recorder::Impl::leave_agent(Task& task, const AgentCode& code) {
  const StopStatus first = *task.unread;
  siginfo_t info{};
  if (first.kind == StopStatus::Kind::kSignal) {
    RCHK_TRY_ASSIGN(info, task.tracee.signal_info());
    // Raised by the code itself: something is wrong with its memory, and the guest is to hear of
    // it.
    if (is_fault(first.value, info)) return {};
  }
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task.tid));
  RCHK_TRY_ASSIGN(const uint64_t mask, task.tracee.signal_mask());
  AgentExit exit;
  exit.in_group_stop = first.kind == StopStatus::Kind::kGroupStop;
  Result<void> gone_on;
  {
    std::vector<Replaced> traps;
    const auto trap = [&](GuestAddress at) -> Result<void> {
      RCHK_TRY_ASSIGN(const Replaced one, Replaced::by_int3(task.tracee, at));
      traps.push_back(one);
      return {};
    };
    gone_on = trap(code.finished);
    if (gone_on) gone_on = trap(code.traced);
    if (gone_on) gone_on = go_on_to_end(task, code, mask, exit);
    // Whatever has become of the task: its memory may be that of others.
    for (const Replaced& one : traps) undo_trap(task, one.address(), one.kept());
  }
  RCHK_TRY(gone_on);
  if (exit.other) task.unread = exit.other;
  const bool is_gone = exit.other && exit.other->kind != StopStatus::Kind::kSignal;
  if (is_gone) return {};
  Registers now = exit.registers;
  if (!exit.other && now.pc() == code.finished) go_back_to_caller(task.tracee, code, now);
  if (!exit.other) {
    now.orig_rax = kNoCall;
    RCHK_TRY(task.tracee.set_registers(now));
    const bool ignored = (status.ignored & signal_bit(SIGTRAP)) != 0;
    Task* const current = std::exchange(task_, &task);
    const Result<void> stopped = stop_again_as(first, info, ignored);
    task_ = current;
    RCHK_TRY(stopped);
  } else if (first.kind == StopStatus::Kind::kSignal) {
    exit.later.push_back(info);
  }
  RCHK_TRY(task.tracee.set_signal_mask(mask));
  for (siginfo_t& one : exit.later) {
    // The kernel lets nobody say that it was itself, or another process, that sent one.
    if (syscall(SYS_rt_tgsigqueueinfo, task.process->pid, task.tid, one.si_signo, &one) != 0) {
      ::syscall(SYS_tgkill, task.process->pid, task.tid, one.si_signo);
    }
  }
  if (exit.in_group_stop) RCHK_TRY(task.tracee.interrupt());  // says that it still is
  if (exit.other || first.kind != StopStatus::Kind::kGroupStop) return {};
  RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
  RCHK_TRY_ASSIGN(task.unread, task.tracee.wait());
  return {};
}

// To one of the two traps at the ends of `code`.
Result<void> Recorder::Impl::go_on_to_end(Task& task, const AgentCode& code, uint64_t mask,
                                          AgentExit& exit) {
  RCHK_TRY(task.tracee.set_signal_mask((mask | ~kFaultSignals) & ~signal_bit(SIGTRAP)));
  for (;;) {
    RCHK_TRY(task.tracee.resume(ResumeMode::kContinue));
    RCHK_TRY_ASSIGN(const StopStatus stop, task.tracee.wait());
    if (stop.kind == StopStatus::Kind::kInterrupted) continue;
    if (stop.kind == StopStatus::Kind::kGroupStop) {
      exit.in_group_stop = true;
      continue;
    }
    if (stop.kind != StopStatus::Kind::kSignal) {
      exit.other = stop;
      return {};
    }
    RCHK_TRY_ASSIGN(const siginfo_t info, task.tracee.signal_info());
    RCHK_TRY_ASSIGN(exit.registers, task.tracee.registers());
    const GuestAddress before = exit.registers.pc() - 1;
    const bool at_end = before == code.finished || before == code.traced;
    if (stop.value == SIGTRAP && info.si_code == SI_KERNEL && at_end) {
      exit.registers.rip = before.value;
      return {};
    }
    if (is_fault(stop.value, info)) {
      exit.other = stop;
      return {};
    }
    exit.later.push_back(info);  // one that no mask keeps back, or that the guest's own does
  }
}

// By whoever has that memory.
void Recorder::Impl::undo_trap(Task& task, GuestAddress at, uint8_t kept) {
  if (task.tracee.pid() >= 0 && task.tracee.write_memory(at, {&kept, 1})) return;
  for (const auto& [tid, other] : tasks_) {
    const bool same = other.get() != &task && other->space == task.space;
    if (same && other->tracee.write_memory(at, {&kept, 1})) return;
  }
}

// task_ stands at a trap of the recorder's, and is to stand at the stop that came before it. All
// signals are blocked that can be. `ignored`: SIGTRAP was, which the trap has undone.
Result<void> Recorder::Impl::stop_again_as(const StopStatus& first, const siginfo_t& info,
                                           bool ignored) {
  Task& task = *task_;
  if (ignored) RCHK_TRY(set_handler(SIGTRAP, kIgnored));
  if (first.kind != StopStatus::Kind::kSignal) return {};
  if (!ignored) return task.tracee.set_signal_info(info);
  RCHK_TRY(task.tracee.set_signal_mask(~signal_bit(info.si_signo)));
  task.signal = info;
  const Result<void> restored = restore_signal_stop();
  task.signal.reset();
  return restored;
}

}  // namespace rchk::record
