#include <csignal>
#include <cstring>
#include <ctime>

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"
#include "snapshot/checksum.h"

namespace rchk::record {

namespace {

using tracee::ResumeMode;
using tracee::StopStatus;

constexpr uint64_t kChecksumShare = 100;  // checksums may cost one part in so many of run time

// MAP_SHARED memory of a file changes with the file, whoever writes it.
bool belongs_to_others(const trace::Mapping& mapping) {
  return mapping.shared && mapping.backing.has_value();
}

}  // namespace

// Checksums of all that a replay must reproduce. Breakpoints must not be in memory.
Result<std::vector<trace::MemoryChecksum>> Recorder::Impl::checksum_memory() {
  RCHK_TRY(grow_stacks(tracee_.pid(), space_));
  snapshot::AddressSpace replayed;
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!belongs_to_others(mapping)) replayed.map(mapping);
  }
  RCHK_TRY_ASSIGN(const auto runs, snapshot::checksum_memory(tracee_.pid(), replayed));
  std::vector<trace::MemoryChecksum> checksums;
  checksums.reserve(runs.size());
  for (const snapshot::RunChecksum& run : runs) checksums.push_back({run.range, run.xxh3});
  return checksums;
}

Result<void> Recorder::Impl::checksum_if_due(const Registers& registers) {
  const std::chrono::nanoseconds interval = options_.checksum_interval;
  const uint64_t now = now_ns();
  if (interval.count() == 0 || now < next_checksum_ns_) return {};
  const bool were_in = breakpoints_.inserted();
  if (were_in) breakpoints_.remove_all(tracee_);
  trace::ChecksumEvent event;
  event.registers = registers;
  RCHK_TRY_ASSIGN(event.memory, checksum_memory());
  if (were_in) breakpoints_.insert_all(tracee_);
  RCHK_TRY(append(std::move(event)));
  const uint64_t end = now_ns();
  next_checksum_ns_ =
      end + std::max(static_cast<uint64_t>(interval.count()), kChecksumShare * (end - now));
  return {};
}

// The guest is on its way out; its memory is still there.
Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_exit_event() {
  if (exit_recorded_) return MaybeStop();
  RCHK_TRY_ASSIGN(const uint64_t message, tracee_.event_message());
  const StopStatus status = tracee::decode_wait_status(static_cast<int>(message));
  breakpoints_.remove_all(tracee_);
  trace::ExitEvent event;
  event.registers = last_registers_;
  if (call_) {
    event.registers = call_->before;
  } else if (status.kind == StopStatus::Kind::kKilled && !fatal_signal_recorded_) {
    // SIGKILL: the only signal that a tracer is not asked about.
    RCHK_TRY_ASSIGN(event.registers, tracee_.registers());
    siginfo_t info{};
    info.si_signo = status.value;
    RCHK_TRY(add_signal_event(info, event.registers, true));
    event.registers = last_registers_;
  }
  if (!call_) event.place = trace::ExitPlace::kAtEvent;
  event.reason = status.kind == StopStatus::Kind::kKilled ? trace::ExitReason::kKilled
                                                          : trace::ExitReason::kExited;
  event.status = status.value;
  event.core_dumped = status.core_dumped;
  RCHK_TRY_ASSIGN(event.memory, checksum_memory());
  exit_recorded_ = true;
  RCHK_TRY(append(std::move(event)));
  return MaybeStop();
}

Result<RecorderStop> Recorder::Impl::finish(const StopStatus& status) {
  const bool killed = status.kind == StopStatus::Kind::kKilled;
  RecorderStop stop{.cause = StopCause::kExited};
  (killed ? stop.signal : stop.status) = status.value;
  stop.core_dumped = status.core_dumped;
  finished_ = stop;
  if (exit_recorded_) return stop;
  trace::ExitEvent event;
  event.reason = killed ? trace::ExitReason::kKilled : trace::ExitReason::kExited;
  event.status = status.value;
  event.core_dumped = status.core_dumped;
  event.registers = call_ ? call_->before : last_registers_;
  // A SIGKILL may end a process without a stop in between.
  if (!call_) {
    event.place = signal_event_is_last_ ? trace::ExitPlace::kAtEvent : trace::ExitPlace::kUnknown;
  }
  if (event.place == trace::ExitPlace::kUnknown) {
    event.message = "killed; the history ends at the last event";
  }
  exit_recorded_ = true;
  RCHK_TRY(append(std::move(event)));
  return stop;
}

Result<void> Recorder::Impl::restore_signal_stop() {
  if (!signal_) return {};
  const siginfo_t info = *signal_;
  // Behind a system call's stop a signal number is sent anew, without what came with it
  // (kernel/ptrace.c, ptrace_report_syscall).
  RCHK_TRY(tracee_.resume(ResumeMode::kContinue, info.si_signo));
  for (;;) {
    RCHK_TRY_ASSIGN(const StopStatus stop, tracee_.wait());
    if (stop.kind == StopStatus::Kind::kSignal && stop.value == info.si_signo) break;
    if (stop.is_gone() || stop.kind == StopStatus::Kind::kEvent) {
      return fail(ErrorKind::kGone, "the guest ended");
    }
    RCHK_TRY(tracee_.resume(ResumeMode::kContinue));
  }
  return tracee_.set_signal_info(info);
}

Result<RecorderStop> Recorder::Impl::stop_recording(std::string_view reason) {
  if (finished_) return *finished_;
  RecorderStop stop{.cause = StopCause::kRecordingStopped};
  stop.message = fmt::format("{}; the program goes on without being recorded", reason);
  breakpoints_.remove_all(tracee_);
  watchpoints_.disarm(tracee_);
  // Elsewhere than at a call or an event the guest stands where no position can tell.
  auto place = trace::ExitPlace::kUnknown;
  if (call_) {
    RCHK_TRY(take_call_back());
    place = trace::ExitPlace::kAtCall;
  } else if (signal_ && signal_event_is_last_) {
    place = trace::ExitPlace::kAtEvent;
  }
  trace::ExitEvent event;
  event.reason = trace::ExitReason::kRecorderStopped;
  event.message = stop.message;
  event.place = place;
  RCHK_TRY_ASSIGN(event.registers, this->registers());
  event.registers.orig_rax = ~0ull;
  if (place != trace::ExitPlace::kUnknown) {
    RCHK_TRY_ASSIGN(event.memory, checksum_memory());
  }
  // The guest is let go before the log is written to: the log may be what failed.
  finished_ = stop;
  const int signal = signal_ ? signal_->si_signo : 0;
  RCHK_TRY(set_free(tracee_, confinement_));
  RCHK_TRY(restore_signal_stop());
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : allowed_cpus_) CPU_SET(cpu, &cpus);
  if (!allowed_cpus_.empty()) sched_setaffinity(tracee_.pid(), sizeof(cpus), &cpus);
  free_pid_ = tracee_.pid();
  RCHK_TRY(tracee_.detach(signal));
  exit_recorded_ = true;
  say(fmt::format("{}.", stop.message));
  RCHK_TRY(append(std::move(event)));
  return stop;
}

Result<StopStatus> Recorder::Impl::wait_for_guest() {
  if (free_pid_ < 0) return fail(ErrorKind::kMisuse, "the guest is not running by itself");
  int status = 0;
  while (waitpid(free_pid_, &status, 0) != free_pid_) {
    if (errno != EINTR) return fail_errno("waiting for the guest");
  }
  free_pid_ = -1;
  return tracee::decode_wait_status(status);
}

Result<ForkSnapshot> Recorder::Impl::fork_snapshot() {
  RCHK_TRY(require_guest());
  RCHK_TRY_ASSIGN(const Registers registers, this->registers());
  RCHK_TRY_ASSIGN(ExtendedState extended, tracee_.extended_state());
  RCHK_TRY(grow_stacks(tracee_.pid(), space_));
  Result<tracee::Tracee> forked = tracee_.fork(confinement_.gadget);
  RCHK_TRY(restore_signal_stop());
  if (!forked) return Failure(forked.error());
  tracee::Tracee child = std::move(*forked);
  const GuestAddress gadget = confinement_.gadget;
  RCHK_TRY(child.remote_syscall(gadget, SYS_close_range, {0, ~0u, 0}));
  snapshot::AddressSpace space = space_;
  for (const auto& [begin, mapping] : space_.mappings()) {
    if (!mapping.shared || !mapping.writable()) continue;
    const AddressRange range = mapping.range;
    const uint64_t readable = mapping.protection | snapshot::kRead | snapshot::kWrite;
    RCHK_TRY_ASSIGN(
        const int64_t placed,
        child.remote_syscall(gadget, SYS_mmap,
                             {begin.value, range.size(), readable,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, ~0ull, 0}));
    if (placed != static_cast<int64_t>(begin.value)) {
      return fail_errno("copying shared memory", static_cast<int>(-placed));
    }
    RCHK_TRY_ASSIGN(const auto pages, own_pages(tracee_, {mapping}));
    for (const trace::PageContents& run : pages) {
      RCHK_TRY(child.write_memory(run.address, run.bytes));
    }
    RCHK_TRY(child.remote_syscall(gadget, SYS_mprotect,
                                  {begin.value, range.size(), mapping.protection}));
  }
  RCHK_TRY(child.set_registers(registers));
  return ForkSnapshot{std::move(child), gadget, registers, std::move(extended), std::move(space)};
}

}  // namespace rchk::record
