// Signals with handlers (docs/notes/tasks.md, "Signals").

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using trace::Place;
using tracee::ResumeMode;
using tracee::StopStatus;

// How long a signal that comes in the middle of a computation is kept back, for a call to come by.
constexpr uint64_t kHoldNs = 3'000'000;
// A tick of a timer that comes by state pays for that with so many times its cost without another.
constexpr uint64_t kTicksOverCost = 4, kMostTicksNs = 100'000'000;
constexpr int kMostTicksInPlace = 2;

// si_code of the stop that follows a handler's set-up under PTRACE_SINGLESTEP (kernel/signal.c,
// signal_setup_done; ptrace_notify).
constexpr int kHandlerSetUp = SIGTRAP;

// What the kernel pushes for a handler (arch/x86/include/asm/sigframe.h, rt_sigframe), from the
// stack pointer at the handler's entry upwards:
//
//   +0   return address
//   +8   struct ucontext: flags 8, link 8, stack 24 (ss_sp, ss_flags, ss_size), then the
//        registers r8...r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags, ...
//   +312 siginfo, and above it the extended state
constexpr uint64_t kContextInFrame = 8, kInfoInFrame = 8 + 304;
constexpr uint64_t kStackInFrame = 8 + 16, kRegistersInFrame = 8 + 40;
constexpr uint64_t kAxInFrame = kRegistersInFrame + 13 * 8, kIpInFrame = kRegistersInFrame + 16 * 8;
constexpr uint64_t kFlagsInFrame = kIpInFrame + 8, kFrameHeadBytes = kFlagsInFrame + 8;
// More than any frame on a stack that goes on below the old stack pointer.
constexpr uint64_t kMostFrameBytes = 1 << 20;

struct FrameHead {
  uint64_t rax = 0, rip = 0, rflags = 0;
  AddressRange stack;  // the alternate one
};

Result<FrameHead> read_frame_head(const tracee::Tracee& tracee, GuestAddress frame) {
  uint8_t bytes[kFrameHeadBytes];
  if (tracee.read_memory(frame, bytes) != sizeof(bytes)) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("the signal frame at {} cannot be read", frame));
  }
  const auto word = [&bytes](uint64_t at) {
    uint64_t value = 0;
    std::memcpy(&value, bytes + at, sizeof(value));
    return value;
  };
  FrameHead head;
  head.rax = word(kAxInFrame);
  head.rip = word(kIpInFrame);
  head.rflags = word(kFlagsInFrame);
  head.stack = range_of({word(kStackInFrame)}, word(kStackInFrame + 16));
  return head;
}

// As the kernel leaves it (arch/x86/kernel/signal_64.c, x64_setup_rt_frame).
bool is_handlers_entry(const Registers& now) {
  return now.rdx == now.rsp + kContextInFrame && now.rsi == now.rsp + kInfoInFrame && now.rax == 0;
}

// What a handler at whose entry the registers are `entry` goes back to.
Result<Registers> interrupted_registers(const tracee::Tracee& tracee, const Registers& entry) {
  constexpr size_t kWords = 18;
  uint64_t words[kWords];
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(words), sizeof(words)};
  if (tracee.read_memory({entry.rsp + kRegistersInFrame}, bytes) != sizeof(words)) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("the signal frame at {} cannot be read", GuestAddress{entry.rsp}));
  }
  Registers before = entry;
  uint64_t* const order[kWords] = {
      &before.r8,  &before.r9,  &before.r10, &before.r11, &before.r12, &before.r13,
      &before.r14, &before.r15, &before.rdi, &before.rsi, &before.rbp, &before.rbx,
      &before.rdx, &before.rax, &before.rcx, &before.rsp, &before.rip, &before.rflags};
  for (size_t i = 0; i < kWords; ++i) *order[i] = words[i];
  before.orig_rax = kNoCall;
  return before;
}

// Where the frame ends: below the interrupted stack pointer, or at the end of the alternate stack
// if that has just been entered.
GuestAddress end_of_frame(GuestAddress frame, GuestAddress old_stack, const FrameHead& head) {
  if (head.stack.contains(frame) && !head.stack.contains(old_stack)) return head.stack.end;
  if (old_stack > frame && old_stack - frame <= kMostFrameBytes) return old_stack;
  return frame + kMostFrameBytes;
}

// Whether the agent's call that is the task's last event has raised it: the guest is to hear of it
// before it goes on.
bool is_of_agents_call(const siginfo_t& info, const Task& task) {
  if (info.si_signo != SIGPIPE || !task.space->agent) return false;
  if (static_cast<int64_t>(task.last_registers.rax) != -EPIPE) return false;
  const auto& parts = task.space->agent->code;
  return std::any_of(parts.begin(), parts.end(), [&task](const auto& item) {
    return item.second.called == task.last_registers.pc();
  });
}

// Of setitimer, alarm and timer_create, which mean time and not an occasion.
bool is_tick(const siginfo_t& info) {
  const bool of_interval =
      info.si_signo == SIGALRM || info.si_signo == SIGVTALRM || info.si_signo == SIGPROF;
  return info.si_code == SI_TIMER || (info.si_code == SI_KERNEL && of_interval);
}

}  // namespace

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_handled_signal(const siginfo_t& info,
                                                                    const Registers& registers,
                                                                    const RunLimits& limits) {
  Task& task = *task_;
  Delivery delivery;
  if (task.interrupted) {
    delivery.place = Place::kAtCall;  // or behind it, which shows at the handler's entry
  } else {
    delivery.place = place_of(info, registers);
    const bool computing = delivery.place == Place::kByState && !task.place_now;
    const bool in_place =
        task.is_behind_handler && same_guest_state(registers, task.last_registers);
    const bool too_often =
        is_tick(info) && in_place && task.ticks.in_place >= kMostTicksInPlace && !task.place_now;
    if ((computing && !is_of_agents_call(info, task)) || task.restarted || too_often) {
      task.ticks.wait |= too_often && !task.restarted;
      RCHK_TRY(hold(info));
      return MaybeStop();
    }
    task.ticks.in_place = in_place ? task.ticks.in_place + 1 : 0;
  }
  task.delivery = delivery;
  const bool quiet = (limits.quiet_signals & signal_bit(info.si_signo)) != 0;
  if (limits.stop_at_signals && !quiet && debugged(task)) {
    return MaybeStop(RecorderStop{.cause = StopCause::kSignal, .signal = info.si_signo});
  }
  return MaybeStop();
}

// Keeps the signal that task_ is stopped at back. What comes meanwhile waits in the kernel.
Result<void> Recorder::Impl::hold(const siginfo_t& info) {
  Task& task = *task_;
  task.held[info.si_signo].push_back(info);
  task.signal.reset();
  if (task.restarted) return {};  // it ends the call that is about to be made again
  if (task.mask_while_held) return {};
  RCHK_TRY_ASSIGN(task.mask_while_held, task.tracee.signal_mask());
  SignalSet kept_back = ~kFaultSignals;
  if (task.space->agent) kept_back &= ~signal_bit(SIGPIPE);  // is_of_agents_call()
  RCHK_TRY(task.tracee.set_signal_mask(*task.mask_while_held | kept_back));
  task.hold_until_ns = monotonic_ns() + kHoldNs;
  if (is_tick(info)) task.hold_until_ns = std::max(task.hold_until_ns, task.ticks.from_ns);
  return {};
}

Result<void> Recorder::Impl::send_marker(int signal) {
  if (syscall(SYS_tgkill, task_->process->pid, task_->tid, signal) != 0) {
    return fail_errno(fmt::format("sending {} to the guest again", signal_name(signal)));
  }
  return {};
}

// Whether signals are held of which the kernel has nothing to deliver. Of others it has: it will as
// soon as the guest's own mask lets it, which a handler's may not.
Result<bool> Recorder::Impl::keeps_signals_back() const {
  const Task& task = *task_;
  if (task.held.empty() || task.mask_while_held) return !task.held.empty();
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task.tid));
  return std::any_of(task.held.begin(), task.held.end(), [&status](const auto& item) {
    return (status.pending & signal_bit(item.first)) == 0;
  });
}

Result<void> Recorder::Impl::release_held(Place place) {
  task_->place_now = task_->behind_event ? Place::kAtEvent : place;
  return release_held();
}

Result<void> Recorder::Impl::release_held() {
  Task& task = *task_;
  task.ticks.wait = false;
  if (task.mask_while_held) {
    RCHK_TRY(task.tracee.set_signal_mask(*task.mask_while_held));
    task.mask_while_held.reset();
  }
  for (const auto& [signal, infos] : task.held) RCHK_TRY(send_marker(signal));
  return {};
}

// Whether it is one of send_marker()'s. A guest in another pid namespace sees no sender.
bool is_marker(const siginfo_t& info) {
  return info.si_code == SI_TKILL && (info.si_pid == getpid() || info.si_pid == 0);
}

// At a stop for a signal of which some are held: `info` becomes the one that came first, and what
// the kernel has just dequeued waits for the next stop.
Result<void> Recorder::Impl::unhold_info(siginfo_t& info) {
  Task& task = *task_;
  const auto held = task.held.find(info.si_signo);
  if (held == task.held.end() || task.mask_while_held) return {};
  std::deque<siginfo_t>& infos = held->second;
  if (!is_marker(info)) infos.push_back(info);
  info = infos.front();
  infos.pop_front();
  RCHK_TRY(task.tracee.set_signal_info(info));
  if (infos.empty()) {
    task.held.erase(held);
    return {};
  }
  // The marker may have been dropped, since another one of its number was pending (signal(7)).
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task.tid));
  if ((status.pending & signal_bit(info.si_signo)) == 0) return send_marker(info.si_signo);
  return {};
}

// Lets the kernel set up the handler of the signal that task_ is stopped at, and records it.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::enter_handler(const RunLimits& limits) {
  Task& task = *task_;
  const Delivery delivery = *std::exchange(task.delivery, std::nullopt);
  const siginfo_t info = *std::exchange(task.signal, std::nullopt);
  trace::SignalEvent event;
  event.number = info.si_signo;
  event.siginfo.resize(sizeof(info));
  std::memcpy(event.siginfo.data(), &info, sizeof(info));
  event.place = delivery.place;
  RCHK_TRY_ASSIGN(event.registers, task.tracee.registers());
  event.registers.orig_rax = ~0ull;
  if (event.place == Place::kByState && task.behind_event) event.place = Place::kAtEvent;
  const bool by_state = event.place == Place::kByState;
  const uint64_t begin_ns = monotonic_ns();
  uint64_t pages = 0;
  if (by_state) {
    RCHK_TRY_ASSIGN(pages, take_state(event));
  }
  if (task.mask_while_held) {
    // A fault's handler, while others are kept back: its frame has the guest's own mask.
    RCHK_TRY(task.tracee.set_signal_mask(*task.mask_while_held));
  }
  const Result<void> resumed = task.tracee.resume(ResumeMode::kStep, info.si_signo);
  if (!resumed && resumed.error().kind != ErrorKind::kGone) return Failure(resumed.error());
  RCHK_TRY_ASSIGN(const StopStatus stop, task.tracee.wait());
  bool entered = stop.kind == StopStatus::Kind::kSignal && stop.value == SIGTRAP;
  if (entered) {
    RCHK_TRY_ASSIGN(const siginfo_t trap, task.tracee.signal_info());
    entered = trap.si_code == kHandlerSetUp;
  }
  if (stop.kind == StopStatus::Kind::kEvent && stop.value == tracee::kEventExit) {
    RCHK_TRY_ASSIGN(const Registers now, task.tracee.registers());
    if (is_handlers_entry(now) && !same_guest_state(now, event.registers)) {
      task.in_exit_stop = true;
      RCHK_TRY(at_handler(std::move(event), limits));
    }
    task.unread = stop;
    return read_stop(task, limits);
  }
  if (!entered) {
    // No room for the frame: a SIGSEGV comes in the same place. Or it is gone.
    if (!task.interrupted) task.place_now = event.place;
    task.without_frame = true;
    task.unread = stop;
    if (!stop.is_gone()) RCHK_TRY(drop_trap_flag(task));
    return read_stop(task, limits);
  }
  RCHK_TRY_ASSIGN(MaybeStop result, at_handler(std::move(event), limits));
  if (by_state) {
    const uint64_t end_ns = monotonic_ns();
    const uint64_t cost_ns = end_ns - begin_ns + pages * kPageCopyNs;
    task.ticks.from_ns = end_ns + std::min(cost_ns * kTicksOverCost, kMostTicksNs);
  }
  return result;
}

// A task that SIGKILL finds at the stop of a handled signal enters the handler all the same
// (kernel/signal.c, get_signal goes on with what ptrace_signal gives it): the frame is in memory.
// REQUIRES: `task` is in its exit stop.
Result<void> Recorder::Impl::add_handler_of_killed(Task& task) {
  RCHK_TRY_ASSIGN(const Registers now, task.tracee.registers());
  const bool known = is_handlers_entry(task.last_registers) && now.rsp == task.last_registers.rsp;
  if (task.call || known || !is_handlers_entry(now)) return {};
  siginfo_t info{};
  const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&info), sizeof(info)};
  if (task.tracee.read_memory({now.rsi}, bytes) != sizeof(info)) return {};
  trace::SignalEvent event;
  event.number = info.si_signo;
  event.siginfo.assign(bytes.begin(), bytes.end());
  RCHK_TRY_ASSIGN(event.registers, interrupted_registers(task.tracee, now));
  // The recorder's own, of which the guest would not have heard.
  const Breakpoints& breakpoints = task.space->breakpoints;
  const GuestAddress pc = event.registers.pc(), before{event.registers.rip - 1};
  const bool ours =
      info.si_code == SI_KERNEL &&
      (instruction_at(pc, task.tracee).kind == InstructionKind::kTrapped ||
       (info.si_signo == SIGTRAP && (breakpoints.contains(before) || breakpoints.is_hook(before))));
  Task* const current = std::exchange(task_, &task);
  event.place = task.delivery ? task.delivery->place : place_of(info, event.registers);
  if (event.place == Place::kByState && task.behind_event) event.place = Place::kAtEvent;
  // What the frame has overwritten was part of a state.
  task.place_lost = ours || (event.place == Place::kByState && !task.interrupted);
  Result<MaybeStop> added = MaybeStop();
  if (!task.place_lost) added = at_handler(std::move(event), *limits_);
  task_ = current;
  return added ? Result<void>() : Failure(added.error());
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::at_handler(trace::SignalEvent event,
                                                             const RunLimits& limits) {
  Task& task = *task_;
  trace::HandlerEntry entry;
  RCHK_TRY_ASSIGN(entry.registers, task.tracee.registers());
  entry.registers.orig_rax = ~0ull;
  RCHK_TRY_ASSIGN(entry.extended_state, task.tracee.extended_state());
  const GuestAddress frame{entry.registers.rsp};
  RCHK_TRY_ASSIGN(const FrameHead head, read_frame_head(task.tracee, frame));
  if ((head.rflags & ~event.registers.rflags & kTrapFlag) != 0) {
    // The single step's: at POPF and IRET the kernel takes it for the guest's.
    uint64_t rflags = head.rflags & ~kTrapFlag;
    const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&rflags), sizeof(rflags)};
    RCHK_TRY(task.tracee.write_memory(frame + kFlagsInFrame, bytes));
  }
  const GuestAddress end = end_of_frame(frame, {event.registers.rsp}, head);
  trace::MemoryWrite write{frame, Bytes(end - frame)};
  write.bytes.resize(task.tracee.read_memory(frame, write.bytes));
  entry.frame.push_back(std::move(write));

  if (task.interrupted) {
    InterruptedCall interrupted = std::move(*task.interrupted);
    task.interrupted.reset();
    event.registers = interrupted.call.before;
    event.place = Place::kAtCall;
    if (head.rip != interrupted.call.before.rip) {
      // The guest sees the call return.
      interrupted.event.after.rax = head.rax;
      event.registers = interrupted.event.after;
      event.place = Place::kAtEvent;
      note_thread_words(interrupted.call, static_cast<int64_t>(head.rax));
      RCHK_TRY(append(std::move(interrupted.event)));
    }
  }
  event.registers.orig_rax = ~0ull;
  const bool by_state = event.place == Place::kByState;
  task.last_registers = entry.registers;
  const MaybeStop changed = watchpoint_changed_by(entry.frame, limits);
  event.handler = std::move(entry);
  task.place_now.reset();
  RCHK_TRY(append(std::move(event)));
  task.behind_event = true;
  if (by_state) RCHK_TRY(renew_reference());
  // What else is pending and not blocked by the handler comes before its first instruction.
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task.tid));
  task.pending_at_event = status.pending & ~status.blocked;
  task.traps_blocked = status.blocked & kTrapSignals;
  if (task.mask_while_held) {
    task.mask_while_held = status.blocked;  // as the handler has it
    RCHK_TRY(release_held(Place::kAtEvent));
  }
  if (changed) return changed;
  if (stepping_) return MaybeStop(RecorderStop{.cause = StopCause::kStepped});
  return MaybeStop();
}

}  // namespace rchk::record
