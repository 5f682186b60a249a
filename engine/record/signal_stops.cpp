#include <csignal>
#include <cstring>

#include <sys/syscall.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

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

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_signal(int signal, const RunLimits& limits) {
  RCHK_TRY_ASSIGN(const siginfo_t info, tracee_.signal_info());
  RCHK_TRY_ASSIGN(const Registers registers, tracee_.registers());
  if (signal == SIGSEGV && info.si_code == SI_KERNEL) {
    RCHK_TRY_ASSIGN(const bool emulated, emulate_trapped(registers));
    if (emulated) return MaybeStop();
  }
  if (signal == SIGTRAP && info.si_code > 0) {
    bool ours = false;
    RCHK_TRY_ASSIGN(MaybeStop stop, on_trap(info, registers, limits, ours));
    if (ours) return stop;
  }
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(tracee_.pid()));
  SignalAction action = action_of(signal, status);
  // The kernel has made a forced signal's action the default one before it says so
  // (kernel/signal.c, force_sig_info_to_task), but a fault of an ignored signal is fatal all the
  // same.
  if (action == SignalAction::kIgnore && is_synchronous(info)) action = SignalAction::kFatal;
  signal_ = info;
  switch (action) {
    case SignalAction::kIgnore:
    case SignalAction::kStop:
      return MaybeStop();  // passed on: the kernel does as it would natively
    case SignalAction::kHandler: {
      RCHK_TRY(add_signal_event(info, registers, false));
      RCHK_TRY_ASSIGN(RecorderStop stop,
                      stop_recording(fmt::format("{} with a handler at {}: signal handlers are "
                                                 "not recorded yet (keep that signal from "
                                                 "it, or its handler from being set)",
                                                 signal_name(signal), registers.pc())));
      return MaybeStop(std::move(stop));
    }
    case SignalAction::kFatal:
      return on_fatal_signal(info, registers, limits);
  }
  return MaybeStop();
}

// A SIGTRAP of the processor's. `ours` is set if the recorder asked for it.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_trap(const siginfo_t& info,
                                                          Registers registers,
                                                          const RunLimits& limits, bool& ours) {
  if (info.si_code == SI_KERNEL) {  // int3; pc is behind it
    const GuestAddress site = registers.pc() - 1;
    const bool target = step_target_.inserted() && step_target_.contains(site);
    const bool breakpoint = breakpoints_.inserted() && breakpoints_.reports(site);
    const bool hook = breakpoints_.inserted() && breakpoints_.is_hook(site);
    ours = target || breakpoint || hook;
    if (!ours) return MaybeStop();
    registers.rip = site.value;
    if (hook && !breakpoint) return perform_hook(registers, limits);
    RCHK_TRY(tracee_.set_registers(registers));
    if (target) return MaybeStop(RecorderStop{.cause = StopCause::kStepped});
    return MaybeStop(RecorderStop{.cause = StopCause::kBreakpoint, .address = site});
  }
  if (info.si_code != kTrapTrace && info.si_code != kTrapHardware) return MaybeStop();
  const bool stepped = info.si_code == kTrapTrace && stepping_;
  ours = stepped || (info.si_code == kTrapHardware && !watchpoints_.empty());
  if (!ours) return MaybeStop();
  if (limits.stop_at_breakpoints) {
    RCHK_TRY_ASSIGN(const auto hit, watchpoints_.take_hit(tracee_));
    if (hit) {
      return MaybeStop(RecorderStop{.cause = StopCause::kWatchpoint, .address = hit->address});
    }
  }
  if (stepped) return MaybeStop(RecorderStop{.cause = StopCause::kStepped});
  return MaybeStop();
}

// True if the fault came of CPUID, RDTSC or RDTSCP and the guest has its answer now.
Result<bool> Recorder::Impl::emulate_trapped(const Registers& before) {
  const Instruction instruction = instruction_at(before.pc(), tracee_);
  if (instruction.kind != InstructionKind::kTrapped) return false;
  const bool trapped = instruction.trapped == trace::TrappedInstruction::kCpuid
                           ? confinement_.cpuid_trapped
                           : confinement_.tsc_trapped;
  if (!trapped) return false;
  trace::TrapEvent event;
  event.instruction = instruction.trapped;
  event.before = before;
  event.before.orig_rax = ~0ull;
  const TscMirror::Pause pause(tsc_mirror_);
  event.after = emulate(instruction, event.before, confinement_.cpuid_trapped);
  RCHK_TRY(tracee_.set_registers(event.after));
  if (segv_blocked_) {
    // A fault unblocks its signal (kernel/signal.c, force_sig_info_to_task).
    RCHK_TRY_ASSIGN(const uint64_t mask, tracee_.signal_mask());
    RCHK_TRY(tracee_.set_signal_mask(mask | signal_bit(SIGSEGV)));
  }
  last_registers_ = event.after;
  RCHK_TRY(append(std::move(event)));
  return true;
}

Result<void> Recorder::Impl::add_signal_event(const siginfo_t& info, const Registers& registers,
                                              bool fatal) {
  trace::SignalEvent event;
  event.number = info.si_signo;
  event.siginfo.resize(sizeof(info));
  std::memcpy(event.siginfo.data(), &info, sizeof(info));
  event.fatal = fatal;
  event.registers = registers;
  event.registers.orig_rax = ~0ull;
  if (is_synchronous(info)) {
    event.place = trace::Place::kAtFault;
  } else if ((pending_at_event_ & signal_bit(info.si_signo)) != 0) {
    event.place = trace::Place::kAtEvent;
  }
  if (event.place == trace::Place::kByState) {
    RCHK_TRY_ASSIGN(event.extended_state, tracee_.extended_state());
    // Nothing says which pages changed since the last event: all that may have.
    std::vector<trace::Mapping> writable;
    for (const auto& [begin, mapping] : space_.mappings()) {
      if (mapping.writable()) writable.push_back(mapping);
    }
    const bool were_in = breakpoints_.inserted();
    if (were_in) breakpoints_.remove_all(tracee_);
    RCHK_TRY_ASSIGN(event.dirty, own_pages(tracee_, writable));
    if (were_in) breakpoints_.insert_all(tracee_);
  }
  last_registers_ = event.registers;
  return append(std::move(event));
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_fatal_signal(const siginfo_t& info,
                                                                  const Registers& registers,
                                                                  const RunLimits& limits) {
  if (!fatal_signal_recorded_) {
    RCHK_TRY(add_signal_event(info, registers, true));
    fatal_signal_recorded_ = true;
  }
  RecorderStop stop;
  stop.signal = info.si_signo;
  if (limits.stop_at_signals && !signal_reported_) {
    signal_reported_ = true;
    stop.cause = StopCause::kSignal;
    return MaybeStop(std::move(stop));
  }
  if (limits.stop_before_exit && !exit_reported_) {
    exit_reported_ = true;
    stop.cause = StopCause::kAboutToExit;
    return MaybeStop(std::move(stop));
  }
  return MaybeStop();
}

}  // namespace rchk::record
