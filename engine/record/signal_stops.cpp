#include <csignal>
#include <cstring>

#include <sys/syscall.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

// si_code of a SIGTRAP by single step and by a debug register (asm-generic/siginfo.h).
constexpr int kTrapTrace = 2, kTrapHardware = 4;
constexpr size_t kSiginfoBytes = 128;
static_assert(sizeof(siginfo_t) == kSiginfoBytes);

// Raised by the instruction at pc, so that the same instruction raises it in a replay.
bool is_synchronous(const siginfo_t& info) {
  switch (info.si_signo) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
      return info.si_code > 0;
    default:
      return false;
  }
}

}  // namespace

// At POPF and IRET the kernel takes the trap flag of a single step for the guest's
// (arch/x86/kernel/step.c, enable_single_step), and leaves it there when they have not run.
Result<void> Recorder::Impl::drop_trap_flag(Task& task) {
  RCHK_TRY_ASSIGN(Registers registers, task.tracee.registers());
  if ((registers.rflags & kTrapFlag) == 0) return {};
  registers.rflags &= ~kTrapFlag;
  return task.tracee.set_registers(registers);
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_signal(int signal, const RunLimits& limits) {
  if (stepping_ && signal != SIGTRAP) RCHK_TRY(drop_trap_flag(*task_));
  RCHK_TRY_ASSIGN(siginfo_t info, task_->tracee.signal_info());
  RCHK_TRY_ASSIGN(const Registers registers, task_->tracee.registers());
  if (!tracee::in_long_mode(registers)) {
    task_->signal = info;
    return stop_at_32_bit_code(registers);
  }
  const bool without_frame = std::exchange(task_->without_frame, false);
  if (signal == SIGSEGV && info.si_code == SI_KERNEL && !without_frame) {
    RCHK_TRY_ASSIGN(const bool emulated, emulate_trapped(registers));
    if (emulated) return MaybeStop();
  }
  if (signal == SIGSYS && task_->process->vsyscalls_trapped) {
    RCHK_TRY_ASSIGN(const bool emulated, emulate_vsyscall(info, registers));
    if (emulated) return MaybeStop();
  }
  if (signal == SIGTRAP && info.si_code > 0) {
    bool ours = false;
    RCHK_TRY_ASSIGN(MaybeStop stop, on_trap(info, registers, limits, ours));
    if (ours) {
      RCHK_TRY(undo_force(SIGTRAP));
      return stop;
    }
  }
  if (signal == SIGTRAP && info.si_code == kTrapTrace) {
    task_->signal = info;
    RCHK_TRY_ASSIGN(RecorderStop stop, stop_recording("the program steps itself (trap flag)"));
    return MaybeStop(std::move(stop));
  }
  if (holds() && task_->restarted) {
    // All wait for the call that is about to be made again, which sends for them.
    if (is_marker(info)) return MaybeStop();
  } else if (holds()) {
    RCHK_TRY(unhold_info(info));
  }
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task_->tid));
  SignalAction action = action_of(signal, status);
  // The kernel has made a forced signal's action the default one before it says so
  // (kernel/signal.c, force_sig_info_to_task), but a fault of an ignored signal is fatal all the
  // same.
  if (action == SignalAction::kIgnore && is_synchronous(info)) action = SignalAction::kFatal;
  task_->signal = info;
  switch (action) {
    case SignalAction::kIgnore:
    case SignalAction::kStop:
      return MaybeStop();  // passed on: the kernel does as it would natively
    case SignalAction::kHandler:
      return on_handled_signal(info, registers, limits);
    case SignalAction::kFatal:
      return on_fatal_signal(info, registers, limits);
  }
  return MaybeStop();
}

// Nothing says when a program enters such code or leaves it, by a far jump.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::stop_at_32_bit_code(const Registers& registers) {
  RCHK_TRY_ASSIGN(RecorderStop stop, stop_recording(fmt::format(
                                         "the program runs 32-bit code (at {})", registers.pc())));
  return MaybeStop(std::move(stop));
}

// A SIGTRAP of the processor's. `ours` is set if the recorder asked for it.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_trap(const siginfo_t& info,
                                                          Registers registers,
                                                          const RunLimits& limits, bool& ours) {
  if (info.si_code == SI_KERNEL) {  // int3; pc is behind it
    const GuestAddress site = registers.pc() - 1;
    const bool target = step_target_.inserted() && step_target_.contains(site);
    const bool breakpoint =
        task_->space->breakpoints.inserted() && task_->space->breakpoints.reports(site);
    const bool hook =
        task_->space->breakpoints.inserted() && task_->space->breakpoints.is_hook(site);
    ours = target || breakpoint || hook;
    if (!ours) return MaybeStop();
    registers.rip = site.value;
    if (hook && !breakpoint) return perform_hook(registers, limits);
    RCHK_TRY(task_->tracee.set_registers(registers));
    if (target) return MaybeStop(RecorderStop{.cause = StopCause::kStepped});
    return MaybeStop(RecorderStop{.cause = StopCause::kBreakpoint, .address = site});
  }
  if (info.si_code != kTrapTrace && info.si_code != kTrapHardware) return MaybeStop();
  const bool stepped = info.si_code == kTrapTrace && stepping_;
  ours = stepped || (info.si_code == kTrapHardware && !watchpoints_.empty());
  if (!ours) return MaybeStop();
  if (limits.stop_at_breakpoints) {
    RCHK_TRY_ASSIGN(auto hit, watchpoints_.take_hit(task_->tracee, task_->armed));
    if (stepped && !hit && !watchpoints_.empty() && !hardware_watchpoints_work()) {
      hit = watchpoints_.take_change(task_->tracee);
    }
    if (hit) {
      return MaybeStop(RecorderStop{.cause = StopCause::kWatchpoint, .address = hit->address});
    }
  }
  if (stepped) return MaybeStop(RecorderStop{.cause = StopCause::kStepped});
  return MaybeStop();
}

// Whether the instruction at `pc`, which may trap, traps because the recorder has it.
bool Recorder::Impl::is_own_trap(const Instruction& instruction, GuestAddress pc) {
  if (instruction.kind != InstructionKind::kTrapped) return false;
  // A guest may hold the patched bytes on a processor without the instruction, or a privileged
  // instruction of its own: what they raise there is its own.
  const UntrappedKinds patched = untrapped_instructions_.kinds();
  const Confinement& confinement = task_->space->confinement;
  switch (instruction.trapped) {
    case trace::TrappedInstruction::kCpuid:
      return instruction.patched ? patched.cpuid && is_patch(pc, instruction.length)
                                 : confinement.cpuid_trapped;
    case trace::TrappedInstruction::kRdrand:
      return patched.rdrand;
    case trace::TrappedInstruction::kRdseed:
      return patched.rdseed;
    case trace::TrappedInstruction::kRdtsc:
    case trace::TrappedInstruction::kRdtscp:
      return instruction.patched ? patched.counter && is_patch(pc, instruction.length)
                                 : confinement.tsc_trapped;
  }
  return false;
}

// A guest that goes on without being recorded executes what it trapped at by itself.
// REQUIRES: task_ stands where its signal came.
Result<void> Recorder::Impl::drop_own_trap() {
  if (!task_->signal || task_->signal->si_code != SI_KERNEL) return {};
  const int signal = task_->signal->si_signo;
  RCHK_TRY_ASSIGN(Registers registers, task_->tracee.registers());
  if (signal == SIGSEGV) {
    const GuestAddress pc = registers.pc();
    if (!is_own_trap(instruction_at(pc, task_->tracee), pc)) return {};
  } else if (signal == SIGTRAP) {
    const GuestAddress site = registers.pc() - 1;
    const Breakpoints& breakpoints = task_->space->breakpoints;
    if (!breakpoints.contains(site) && !breakpoints.is_hook(site)) return {};
    registers.rip = site.value;
    RCHK_TRY(task_->tracee.set_registers(registers));
  } else {
    return {};
  }
  task_->signal.reset();
  return undo_force(signal);
}

// True if the fault came of CPUID, RDTSC, RDTSCP, RDRAND or RDSEED and the guest has its answer
// now.
Result<bool> Recorder::Impl::emulate_trapped(const Registers& before) {
  const Instruction instruction = instruction_at(before.pc(), task_->tracee);
  if (!is_own_trap(instruction, before.pc())) return false;
  trace::TrapEvent event;
  event.instruction = instruction.trapped;
  event.before = before;
  event.before.orig_rax = ~0ull;
  const TscMirror::Pause pause(tsc_mirror_);
  const bool masks_cpuid =
      task_->space->confinement.cpuid_trapped || untrapped_instructions_.kinds().cpuid;
  event.after = emulate(instruction, event.before, masks_cpuid);
  if (instruction.trapped == trace::TrappedInstruction::kRdtscp) {
    event.after.rcx = believed_processor_id().value_or(static_cast<uint32_t>(event.after.rcx));
  }
  RCHK_TRY(task_->tracee.set_registers(event.after));
  RCHK_TRY(undo_force(SIGSEGV));
  const Registers after = event.after;
  RCHK_TRY(append_trap(std::move(event), after));
  task_->behind_trap = true;
  return true;
}

// The event of what came by a signal of the recorder's own.
Result<void> Recorder::Impl::append_trap(trace::EventBody event, const Registers& after) {
  task_->last_registers = after;
  RCHK_TRY(append(std::move(event)));
  // It came before signals that were released just now.
  if (task_->place_now) task_->place_now = trace::Place::kAtEvent;
  // Right behind an event is a better place for them than any by state.
  if (holds() && task_->mask_while_held) RCHK_TRY(release_held(trace::Place::kAtEvent));
  return {};
}

// A trap unblocks its signal, and takes away its handler where it was blocked or ignored
// (kernel/signal.c, force_sig_info_to_task). The guest's own traps are to do so, not the
// recorder's.
Result<void> Recorder::Impl::undo_force(int signal) {
  const auto known = task_->process->trap_handlers.find(signal);
  const uint64_t handler = known == task_->process->trap_handlers.end() ? 0 : known->second;
  const bool blocked = (task_->traps_blocked & signal_bit(signal)) != 0;
  if (!blocked && handler != kIgnored) return {};
  if (blocked) {
    RCHK_TRY_ASSIGN(const uint64_t mask, task_->tracee.signal_mask());
    RCHK_TRY(task_->tracee.set_signal_mask(mask | signal_bit(signal)));
  }
  return handler == 0 ? Result<void>() : set_handler(signal, handler);
}

// Changes what the guest does at a signal, and nothing else of it.
Result<void> Recorder::Impl::set_handler(int signal, uint64_t handler) {
  constexpr uint64_t kActionBytes = 32, kHandlerBytes = 8, kSetBytes = 8, kRedZoneBytes = 128;
  RCHK_TRY_ASSIGN(const Registers registers, task_->tracee.registers());
  const GuestAddress room{(registers.rsp - kRedZoneBytes - kActionBytes) & ~15ull};
  uint8_t kept[kActionBytes];
  if (task_->tracee.read_memory(room, kept) != sizeof(kept)) {
    say_once(fmt::format("The handler of {} is lost: there is no stack to put it back with.",
                         signal_name(signal)));
    return {};
  }
  const GuestAddress gadget = task_->space->confinement.gadget;
  const auto number = static_cast<uint64_t>(signal);
  RCHK_TRY(
      task_->tracee.remote_syscall(gadget, SYS_rt_sigaction, {number, 0, room.value, kSetBytes}));
  RCHK_TRY(task_->tracee.write_memory(room,
                                      {reinterpret_cast<const uint8_t*>(&handler), kHandlerBytes}));
  RCHK_TRY(
      task_->tracee.remote_syscall(gadget, SYS_rt_sigaction, {number, room.value, 0, kSetBytes}));
  return task_->tracee.write_memory(room, kept);
}

// Where task_ is, for a signal that is delivered before its next instruction.
trace::Place Recorder::Impl::place_of(const siginfo_t& info, const Registers& registers) const {
  if (task_->place_now) return *task_->place_now;
  const bool pending = (task_->pending_at_event & signal_bit(info.si_signo)) != 0;
  if (is_synchronous(info)) {
    // Behind a sigreturn whose frame the kernel could not take, and no instruction raised it.
    const bool forced = pending && same_guest_state(registers, task_->last_registers);
    return forced ? trace::Place::kAtEvent : trace::Place::kAtFault;
  }
  if (task_->behind_event) return trace::Place::kAtEvent;
  if (!same_guest_state(registers, task_->last_registers)) return trace::Place::kByState;
  // One that was pending for all threads may have been taken by another one meanwhile, so that the
  // registers have to be those of the event as well. They prove it alone behind a system call: only
  // the instruction itself leaves the pc in rcx and the flags in r11 (SDM vol. 2B, SYSCALL).
  const bool behind_call = registers.rcx == registers.rip && registers.r11 == registers.rflags;
  if (pending || behind_call) return trace::Place::kAtEvent;
  return trace::Place::kByState;
}

Result<void> Recorder::Impl::add_fatal_signal(const siginfo_t& info, const Registers& registers) {
  trace::SignalEvent event;
  event.number = info.si_signo;
  event.siginfo.resize(sizeof(info));
  std::memcpy(event.siginfo.data(), &info, sizeof(info));
  event.fatal = true;
  event.registers = registers;
  if (task_->interrupted) {
    trace::SyscallEvent call = std::move(task_->interrupted->event);
    task_->interrupted.reset();
    event.registers = call.after;
    task_->last_registers = call.after;
    task_->pending_at_event |= signal_bit(info.si_signo);
    RCHK_TRY(append(std::move(call)));
    task_->behind_event = true;
  }
  if (task_->restarted && registers.rip == task_->restarted->before.rip) {
    // It comes in the call, which looks to the guest as if it had not been made before.
    const PendingCall& call = *task_->restarted;
    RCHK_TRY(restore_time_out(call, event.registers));
    event.registers = call.before;
    event.place = trace::Place::kAtCall;
  } else {
    event.place = place_of(info, event.registers);
  }
  event.registers.orig_rax = ~0ull;
  if (event.place == trace::Place::kByState) RCHK_TRY(take_state(event));
  task_->last_registers = event.registers;
  RCHK_TRY(append(std::move(event)));
  task_->behind_event = true;
  return {};
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_fatal_signal(const siginfo_t& info,
                                                                  const Registers& registers,
                                                                  const RunLimits& limits) {
  if (!task_->fatal_signal_recorded) {
    RCHK_TRY(log_ended_calls());  // memory is compared at the end
    RCHK_TRY(add_fatal_signal(info, registers));
    task_->fatal_signal_recorded = true;
  }
  RecorderStop stop;
  stop.signal = info.si_signo;
  const bool quiet = (limits.quiet_signals & signal_bit(info.si_signo)) != 0;
  if (limits.stop_at_signals && !quiet && !task_->signal_reported && debugged(*task_)) {
    task_->signal_reported = true;
    stop.cause = StopCause::kSignal;
    return MaybeStop(std::move(stop));
  }
  if (limits.stop_before_exit && !exit_reported_ && debugged(*task_)) {
    exit_reported_ = true;
    stop.cause = StopCause::kAboutToExit;
    return MaybeStop(std::move(stop));
  }
  return MaybeStop();
}

}  // namespace rchk::record
