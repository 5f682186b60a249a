#include <csignal>
#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using std::chrono::steady_clock;
using tracee::ResumeMode;
using tracee::StopStatus;

constexpr auto kPollInterval = std::chrono::milliseconds(5);

// Wakes the calling thread out of waitpid now and then, for as long as it lives: by a signal that
// does nothing. Restores the signal's action at its end.
class Waker {
 public:
  explicit Waker(bool on) {
    if (!on) return;
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(kSignalNumber(), &action, &old_action_);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, kSignalNumber());
    pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kSignalNumber();
    event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
    on_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    if (!on_) return;
    const timespec period{0, std::chrono::nanoseconds(kPollInterval).count()};
    const itimerspec setting{period, period};
    timer_settime(timer_, 0, &setting, nullptr);
  }
  ~Waker() {
    if (!on_) return;
    timer_delete(timer_);
    sigaction(kSignalNumber(), &old_action_, nullptr);
  }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

 private:
  static int kSignalNumber() { return SIGRTMAX - 3; }
  bool on_ = false;
  timer_t timer_{};
  struct sigaction old_action_ {};
};

}  // namespace

Result<RecorderStop> Recorder::Impl::run(const RunLimits& limits) {
  if (finished_) return *finished_;
  const bool polled = limits.interrupt_requested || limits.deadline;
  const Waker waker(polled);
  next_poll_ns_ = 0;
  interrupt_wanted_ = false;
  Result<RecorderStop> stop = run_guest(limits);
  tsc_mirror_.leave();
  stepping_ = false;
  if (!finished_) breakpoints_.remove_all(tracee_);
  if (!stop) return recover(stop.error());
  return stop;
}

Result<RecorderStop> Recorder::Impl::run_guest(const RunLimits& limits) {
  if (limits.stop_at_breakpoints) {
    RCHK_TRY(watchpoints_.arm(tracee_));
  } else {
    watchpoints_.disarm(tracee_);
  }
  if (signal_ && fatal_signal_recorded_ && limits.stop_before_exit && !exit_reported_) {
    exit_reported_ = true;
    return RecorderStop{.cause = StopCause::kAboutToExit, .signal = signal_->si_signo};
  }
  bool step_first = limits.single_step;
  if (!step_first && limits.stop_at_breakpoints && !breakpoints_.empty()) {
    RCHK_TRY_ASSIGN(const Registers registers, tracee_.registers());
    step_first = breakpoints_.contains(registers.pc());
  }
  if (step_first) {
    RCHK_TRY_ASSIGN(const RecorderStop stop, step(limits));
    if (limits.single_step || stop.cause != StopCause::kStepped) return stop;
    // The next instruction may have a breakpoint as well.
    RCHK_TRY_ASSIGN(const Registers registers, tracee_.registers());
    if (breakpoints_.contains(registers.pc())) {
      return RecorderStop{.cause = StopCause::kBreakpoint, .address = registers.pc()};
    }
  }
  breakpoints_.report(limits.stop_at_breakpoints);
  breakpoints_.insert_all(tracee_);
  if (confinement_.tsc_trapped) tsc_mirror_.enter();
  for (;;) {
    RCHK_TRY_ASSIGN(const MaybeStop result, advance(ResumeMode::kSyscall, limits));
    if (result) return *result;
  }
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::advance(ResumeMode mode,
                                                          const RunLimits& limits) {
  RCHK_TRY(resume(mode));
  RCHK_TRY_ASSIGN(const StopStatus stop, wait_for_stop(limits));
  RCHK_TRY_ASSIGN(MaybeStop result, handle(stop, limits));
  // Any stop takes the place of the one that was asked for (kernel/signal.c, ptrace_stop).
  const bool interrupted = std::exchange(interrupt_in_flight_, false) && interrupt_wanted_;
  if (result || !interrupted || exit_recorded_) return result;
  if (call_) RCHK_TRY(take_call_back());
  return MaybeStop(RecorderStop{.cause = StopCause::kInterrupted});
}

// Lets one instruction run, be it a system call. Breakpoints are not in memory.
Result<RecorderStop> Recorder::Impl::step(const RunLimits& limits) {
  for (;;) {
    RCHK_TRY_ASSIGN(const Registers before, tracee_.registers());
    if (breakpoints_.is_hook(before.pc())) {
      RCHK_TRY_ASSIGN(const MaybeStop hit, perform_hook(before, limits));
      return hit ? *hit : RecorderStop{.cause = StopCause::kStepped};
    }
    const Instruction instruction = instruction_at(before.pc(), tracee_);
    ResumeMode mode = ResumeMode::kStep;
    switch (instruction.kind) {
      case InstructionKind::kSyscall:
      case InstructionKind::kInt80:
        mode = ResumeMode::kSyscall;  // PTRACE_SINGLESTEP does not stop at system calls
        break;
      case InstructionKind::kRepString:
        mode = ResumeMode::kSyscall;
        step_target_ = {};
        step_target_.add(before.pc() + instruction.length);
        step_target_.insert_all(tracee_);
        break;
      case InstructionKind::kTrapped:
      case InstructionKind::kPushFlags:
      case InstructionKind::kOther:
        break;
    }
    const uint64_t calls = calls_done_;
    const uint64_t events = event_count_;
    stepping_ = true;
    Result<MaybeStop> result = advance(mode, limits);
    stepping_ = false;
    if (!finished_ && !step_target_.empty()) step_target_.remove_all(tracee_);
    step_target_ = {};
    if (!result) return Failure(result.error());
    if (*result && (*result)->cause == StopCause::kStepped &&
        instruction.kind == InstructionKind::kPushFlags) {
      // The processor pushed the trap flag that the single step had set.
      constexpr uint8_t kTrapFlagInSecondByte = 1;
      RCHK_TRY_ASSIGN(const Registers after, tracee_.registers());
      uint8_t byte = 0;
      if (tracee_.read_memory({after.rsp + 1}, {&byte, 1}) == 1) {
        byte &= static_cast<uint8_t>(~kTrapFlagInSecondByte);
        RCHK_TRY(tracee_.write_memory({after.rsp + 1}, {&byte, 1}));
      }
    }
    if (*result) return **result;
    const bool trapped = event_count_ != events && instruction.kind == InstructionKind::kTrapped;
    if (calls_done_ != calls || trapped) return RecorderStop{.cause = StopCause::kStepped};
    if (call_) {
      // Inside a call: run to its end.
      while (call_) {
        RCHK_TRY_ASSIGN(const MaybeStop inner, advance(ResumeMode::kSyscall, limits));
        if (inner) return *inner;
      }
      if (calls_done_ != calls) return RecorderStop{.cause = StopCause::kStepped};
    }
  }
}

Result<void> Recorder::Impl::resume(ResumeMode mode) {
  if (in_group_stop_) return tracee_.listen();
  const int signal = signal_ ? signal_->si_signo : 0;
  signal_.reset();
  signal_reported_ = false;
  return tracee_.resume(mode, signal);
}

Result<void> Recorder::Impl::interrupt_if_asked(const RunLimits& limits) {
  if (interrupt_wanted_) return {};
  const uint64_t now_ns = monotonic_ns();
  if (now_ns < next_poll_ns_) return {};
  next_poll_ns_ = now_ns + std::chrono::nanoseconds(kPollInterval).count();
  const steady_clock::time_point now{std::chrono::nanoseconds(now_ns)};
  bool asked = limits.deadline && now >= *limits.deadline;
  if (limits.interrupt_requested) {
    const TscMirror::Pause pause(tsc_mirror_);
    asked |= limits.interrupt_requested();
  }
  if (!asked) return {};
  interrupt_wanted_ = true;
  if (!interrupt_in_flight_) RCHK_TRY(tracee_.interrupt());
  interrupt_in_flight_ = true;
  return {};
}

Result<StopStatus> Recorder::Impl::wait_for_stop(const RunLimits& limits) {
  const bool polled = limits.interrupt_requested || limits.deadline;
  for (;;) {
    // A guest that makes many system calls may keep the waker's signal from ever coming here.
    if (polled) RCHK_TRY(interrupt_if_asked(limits));
    Result<StopStatus> stop = tracee_.wait(polled);
    if (stop || stop.error().errno_value != EINTR) return stop;
  }
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::handle(const StopStatus& stop,
                                                         const RunLimits& limits) {
  in_group_stop_ = false;
  switch (stop.kind) {
    case StopStatus::Kind::kSyscall:
      return call_ ? on_call_exit(limits) : on_call_entry(limits);
    case StopStatus::Kind::kSignal:
      return on_signal(stop.value, limits);
    case StopStatus::Kind::kEvent:
      if (stop.value == tracee::kEventExit) return on_exit_event();
      if (stop.value == tracee::kEventExec) {
        const bool breakpoints_were_in = call_ && call_->breakpoints_were_in;
        RCHK_TRY(take_image());
        if (breakpoints_were_in) breakpoints_.insert_all(tracee_);
        ++calls_done_;
      }
      return MaybeStop();
    case StopStatus::Kind::kGroupStop:
      in_group_stop_ = true;
      return MaybeStop();
    case StopStatus::Kind::kInterrupted:  // or the end of a group stop
      return MaybeStop();
    case StopStatus::Kind::kExited:
    case StopStatus::Kind::kKilled: {
      RCHK_TRY_ASSIGN(RecorderStop end, finish(stop));
      return MaybeStop(std::move(end));
    }
  }
  return MaybeStop();
}

// A guest that somebody killed makes any request fail: its end is still to be heard of. Anything
// else ends the recording only.
Result<RecorderStop> Recorder::Impl::recover(const Error& error) {
  if (finished_) return *finished_;
  if (error.kind == ErrorKind::kGone) {
    for (;;) {
      RCHK_TRY_ASSIGN(const StopStatus stop, tracee_.wait());
      if (stop.is_gone()) return finish(stop);
      if (stop.kind == StopStatus::Kind::kEvent && stop.value == tracee::kEventExit) {
        RCHK_TRY(on_exit_event());
      }
      RCHK_TRY(tracee_.resume(ResumeMode::kContinue));
    }
  }
  Result<RecorderStop> stopped = stop_recording(error.message());
  if (stopped) return stopped;
  return Failure(error);
}

}  // namespace rchk::record
