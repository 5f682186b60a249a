// Calls that come back because of a signal, or of the recorder's own interrupt.

#include "engine/record/restarts.h"

#include <cstring>
#include <ctime>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace nr = syscalls::nr;

Result<CallEnd> Recorder::Impl::restart_interrupted(const Registers& after) {
  const auto result = static_cast<int64_t>(after.rax);
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(task_->tracee.pid()));
  const SignalSet deliverable = status.pending & ~status.blocked;
  bool stops = false;
  for (int signal = 1; signal <= 64; ++signal) {
    if ((deliverable & signal_bit(signal)) == 0) continue;
    switch (action_of(signal, status)) {
      case SignalAction::kHandler:
        return is_restart(result) ? CallEnd::kForHandler : CallEnd::kForGuest;
      case SignalAction::kFatal:
        return CallEnd::kForGuest;
      case SignalAction::kStop:
        stops = true;
        break;
      case SignalAction::kIgnore:
        break;
    }
  }
  // After SIGCONT some calls fail with EINTR natively as well (signal(7)).
  const bool disturbed = std::exchange(task_->call->disturbed, false);
  const bool by_recorder = task_->interrupt_in_flight || disturbed || deliverable != 0;
  if (result == -EINTR && (stops || !by_recorder)) return CallEnd::kForGuest;
  task_->call->continued = true;
  task_->call->again = task_->call->before;
  if (task_->call->remainder) {
    RCHK_TRY(
        task_->tracee.write_memory(task_->call->remainder->address, task_->call->remainder->bytes));
  }
  if (result == kRestartBlock) {
    task_->call->again.rax = static_cast<uint64_t>(nr::restart_syscall);
  } else if (result == -EINTR) {
    RCHK_TRY(shorten_time_out(*task_->call));
  }
  // What it has stored to scratch it will find there.
  const bool stored = !task_->call->remainder && !task_->call->scratch;
  if (stored) RCHK_TRY(add_stores_of_interrupted(*task_, *task_->call));
  RCHK_TRY(task_->tracee.set_registers(task_->call->again));
  task_->restarted = std::exchange(task_->call, std::nullopt);
  return CallEnd::kMadeAgain;
}

void Recorder::Impl::save_remainder(PendingCall& call) {
  GuestAddress pointer;
  const auto number = static_cast<int32_t>(call.before.rax);
  if (number == nr::nanosleep) pointer = {call.before.rsi};
  if (number == nr::clock_nanosleep) pointer = {call.before.r10};
  if (pointer.value == 0) return;
  trace::MemoryWrite own{pointer, Bytes(sizeof(timespec))};
  if (task_->tracee.read_memory(pointer, own.bytes) == own.bytes.size())
    call.remainder = std::move(own);
}

// Calls that fail with EINTR leave their caller to work out how long to wait on.
Result<void> Recorder::Impl::shorten_time_out(PendingCall& call) {
  constexpr uint64_t kNsPerMs = 1'000'000, kNsPerSecond = 1'000'000'000;
  const uint64_t waited_ns = now_ns() - call.entered_ns;
  GuestAddress pointer;
  switch (call.entry.call.number) {
    case nr::epoll_wait:
    case nr::epoll_pwait: {
      const auto milliseconds = static_cast<int32_t>(call.before.r10);
      if (milliseconds <= 0) return {};
      const uint64_t whole_ns = static_cast<uint64_t>(milliseconds) * kNsPerMs;
      const uint64_t rest_ns = whole_ns > waited_ns ? whole_ns - waited_ns : 0;
      call.again.r10 = (rest_ns + kNsPerMs - 1) / kNsPerMs;
      return {};
    }
    case nr::rt_sigtimedwait:
      pointer = {call.before.rdx};
      break;
    case nr::epoll_pwait2:
      pointer = {call.before.r10};
      break;
    case nr::semtimedop:
      pointer = {call.before.r10};
      break;
    case nr::io_getevents:
      pointer = {call.before.r8};
      break;
    default:
      return {};
  }
  timespec time{};
  if (pointer.value == 0) return {};
  if (!call.time_out) {
    trace::MemoryWrite own{pointer, Bytes(sizeof(time))};
    if (task_->tracee.read_memory(pointer, own.bytes) != sizeof(time)) return {};
    call.time_out = std::move(own);
  }
  std::memcpy(&time, call.time_out->bytes.data(), sizeof(time));
  const uint64_t whole_ns =
      static_cast<uint64_t>(time.tv_sec) * kNsPerSecond + static_cast<uint64_t>(time.tv_nsec);
  const uint64_t rest_ns = whole_ns > waited_ns ? whole_ns - waited_ns : 0;
  time.tv_sec = static_cast<time_t>(rest_ns / kNsPerSecond);
  time.tv_nsec = static_cast<long>(rest_ns % kNsPerSecond);
  // In the guest's own memory others could see it.
  const ScratchPiece* const piece = call.scratch ? call.scratch->piece_of(pointer) : nullptr;
  return task_->tracee.write_memory(piece != nullptr ? piece->scratch : pointer,
                                    {reinterpret_cast<const uint8_t*>(&time), sizeof(time)});
}

Result<void> Recorder::Impl::restore_time_out(const PendingCall& call, Registers& after) {
  const bool in_scratch =
      call.time_out && call.scratch && call.scratch->piece_of(call.time_out->address) != nullptr;
  if (call.time_out && !in_scratch) {
    // It may be in memory that the guest itself cannot write.
    RCHK_TRY(task_->tracee.write_memory(call.time_out->address, call.time_out->bytes));
  }
  if (call.again.r10 == call.before.r10) return {};
  after.r10 = call.before.r10;
  return task_->tracee.set_registers(after);
}

}  // namespace rchk::record
