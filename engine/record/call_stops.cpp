#include <cstring>
#include <ctime>

#include <asm/prctl.h>
#include <sched.h>
#include <sys/prctl.h>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"
#include "engine/syscalls/address_space.h"
#include "engine/syscalls/describe.h"
#include "engine/syscalls/descriptors.h"

namespace rchk::record {

namespace {

using syscalls::Call;
using tracee::ResumeMode;
using tracee::StopStatus;
namespace nr = syscalls::nr;

constexpr uint64_t kSyscallInstructionBytes = 2;
constexpr uint64_t kNoCall = ~0ull;  // orig_rax outside of system calls
constexpr uint64_t kArchGetCpuid = 0x1011;

// Results that the kernel replaces before the guest sees them (include/linux/errno.h).
constexpr int64_t kRestartSys = -512, kRestartNoIntr = -513, kRestartNoHandler = -514,
                  kRestartBlock = -516;

bool is_restart(int64_t result) {
  return result == kRestartSys || result == kRestartNoIntr || result == kRestartNoHandler ||
         result == kRestartBlock;
}

class GuestReader final : public syscalls::MemoryReader {
 public:
  explicit GuestReader(const tracee::Tracee& tracee) : tracee_(tracee) {}
  size_t read(GuestAddress address, std::span<uint8_t> out) const override {
    return tracee_.read_memory(address, out);
  }

 private:
  const tracee::Tracee& tracee_;
};

// Calls behind which a signal may be waiting that the call itself sent or let through.
bool may_raise(const Call& call, int64_t result) {
  switch (call.number) {
    case nr::kill:
    case nr::tkill:
    case nr::tgkill:
    case nr::rt_sigqueueinfo:
    case nr::rt_tgsigqueueinfo:
    case nr::pidfd_send_signal:
      return true;
    case nr::rt_sigprocmask:
      return call.arguments[1] != 0 && static_cast<int>(call.arguments[0]) != SIG_BLOCK;
    default:
      return result == -EPIPE || result == -EINTR || is_restart(result);
  }
}

syscalls::Class class_of(const Call& call) {
  const syscalls::Syscall* row = syscalls::find(call.number);
  return row == nullptr ? syscalls::Class::kOutputs : row->call_class;
}

bool is_self(uint64_t pid_argument, pid_t pid) {
  const auto asked = static_cast<pid_t>(pid_argument);
  return asked == 0 || asked == pid;
}

}  // namespace

std::optional<int64_t> Recorder::Impl::own_answer(const Call& call) const {
  if (const std::optional<int> refused = syscalls::refusal(call)) return -*refused;
  // The guest stays on the recorder's core, whatever it believes.
  if (call.number == nr::sched_setaffinity && is_self(call.arguments[0], tracee_.pid())) return 0;
  if (call.number == nr::arch_prctl && call.arguments[0] == kArchGetCpuid) return 1;
  return std::nullopt;
}

std::string Recorder::Impl::obstacle(const Call& call, const Registers& registers) {
  const GuestReader memory(tracee_);
  // Reading the instruction each time would cost more than the rest of the entry.
  if (known_call_sites_.count(registers.pc()) == 0) {
    const GuestAddress site = registers.pc() - kSyscallInstructionBytes;
    if (instruction_at(site, tracee_).kind == InstructionKind::kInt80) {
      return fmt::format("32-bit system call {} by int 0x80 at {}", registers.orig_rax, site);
    }
    known_call_sites_.insert(registers.pc());
  }
  switch (call.number) {
    case nr::clone:
    case nr::clone3:
    case nr::fork:
    case nr::vfork:
      return syscalls::describe_call(call, std::nullopt, &memory) +
             ": more than one process or thread is not recorded yet (have it use one thread, or "
             "record the program that it starts by itself)";
    default:
      return {};
  }
}

// Makes it so that the call at whose entry the guest stands has not begun.
Result<void> Recorder::Impl::take_call_back() {
  PendingCall call = std::move(*call_);
  call_.reset();
  Registers skip = call.before;
  skip.rip += kSyscallInstructionBytes;
  skip.orig_rax = kNoCall;
  RCHK_TRY(tracee_.set_registers(skip));
  for (;;) {
    RCHK_TRY(tracee_.resume(ResumeMode::kSyscall));
    RCHK_TRY_ASSIGN(const StopStatus stop, tracee_.wait());
    if (stop.kind == StopStatus::Kind::kSyscall) break;
    if (stop.kind != StopStatus::Kind::kInterrupted) {
      return fail(ErrorKind::kGone, "the guest ended in a system call");
    }
  }
  const Registers again = call.continued ? call.again : call.before;
  if (call.continued) restarted_ = std::move(call);
  return tracee_.set_registers(again);
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_call_entry(const RunLimits& limits) {
  RCHK_TRY_ASSIGN(Registers registers, tracee_.registers());
  pending_at_event_ = 0;
  const auto number = static_cast<int32_t>(registers.orig_rax);
  if (restarted_ && registers.rip == restarted_->before.rip + kSyscallInstructionBytes) {
    call_ = std::exchange(restarted_, std::nullopt);
    return MaybeStop();
  }
  restarted_.reset();
  PendingCall call;
  call.before = registers;
  call.before.rax = registers.orig_rax;
  call.before.orig_rax = kNoCall;
  call.before.rip -= kSyscallInstructionBytes;
  const Call made = syscalls::call_of(number, registers);
  if (const std::string reason = obstacle(made, registers); !reason.empty()) {
    call_ = std::move(call);
    RCHK_TRY_ASSIGN(RecorderStop stop, stop_recording(reason));
    return MaybeStop(std::move(stop));
  }
  const bool exits = number == nr::exit_group || number == nr::exit;
  if (exits && limits.stop_before_exit && !exit_reported_) {
    exit_reported_ = true;
    call_ = std::move(call);
    RCHK_TRY(take_call_back());
    RecorderStop stop{.cause = StopCause::kAboutToExit};
    stop.status = static_cast<int>(made.arguments[0] & 0xff);
    return MaybeStop(std::move(stop));
  }
  if (syscalls::find(number) == nullptr) {
    say_once(fmt::format("{} is not known: memory that it changes is not recorded.",
                         syscalls::describe_call(made)));
  }
  call.entered_ns = now_ns();
  save_remainder(call);
  call.entry = syscalls::at_entry(made, GuestReader(tracee_));
  call.answer = own_answer(made);
  if (call.answer) {
    registers.orig_rax = kNoCall;
    RCHK_TRY(tracee_.set_registers(registers));
  }
  const syscalls::Class call_class = class_of(made);
  if (call_class == syscalls::Class::kAddressSpace || call_class == syscalls::Class::kLife) {
    if (made.number != nr::brk) known_call_sites_.clear();
    // An int3 could be carried off with its page, or be taken for the guest's.
    call.breakpoints_were_in = breakpoints_.inserted() && !breakpoints_.empty();
    if (call.breakpoints_were_in) breakpoints_.remove_all(tracee_);
  }
  call_ = std::move(call);
  return MaybeStop();
}

// A call that came back early because of a signal that natively would not have woken it (an
// ignored one: a tracer sees those), or of the recorder's own interrupt, is made again. True if
// this is one. A call that a signal really ended returns to the guest as the kernel says.
Result<bool> Recorder::Impl::restart_interrupted(const Registers& after) {
  const auto result = static_cast<int64_t>(after.rax);
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(tracee_.pid()));
  const SignalSet deliverable = status.pending & ~status.blocked;
  bool stops = false;
  for (int signal = 1; signal <= 64; ++signal) {
    if ((deliverable & signal_bit(signal)) == 0) continue;
    switch (action_of(signal, status)) {
      case SignalAction::kHandler:
      case SignalAction::kFatal:
        return false;
      case SignalAction::kStop:
        stops = true;
        break;
      case SignalAction::kIgnore:
        break;
    }
  }
  // After SIGCONT some calls fail with EINTR natively as well (signal(7)).
  const bool by_recorder = interrupt_in_flight_ || deliverable != 0;
  if (result == -EINTR && (stops || !by_recorder)) return false;
  call_->continued = true;
  call_->again = call_->before;
  if (call_->remainder) {
    RCHK_TRY(tracee_.write_memory(call_->remainder->address, call_->remainder->bytes));
  }
  if (result == kRestartBlock) {
    call_->again.rax = static_cast<uint64_t>(nr::restart_syscall);
  } else if (result == -EINTR) {
    RCHK_TRY(shorten_time_out(*call_));
  }
  RCHK_TRY(tracee_.set_registers(call_->again));
  restarted_ = std::exchange(call_, std::nullopt);
  return true;
}

void Recorder::Impl::save_remainder(PendingCall& call) {
  GuestAddress pointer;
  const auto number = static_cast<int32_t>(call.before.rax);
  if (number == nr::nanosleep) pointer = {call.before.rsi};
  if (number == nr::clock_nanosleep) pointer = {call.before.r10};
  if (pointer.value == 0) return;
  trace::MemoryWrite own{pointer, Bytes(sizeof(timespec))};
  if (tracee_.read_memory(pointer, own.bytes) == own.bytes.size()) call.remainder = std::move(own);
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
    if (tracee_.read_memory(pointer, own.bytes) != sizeof(time)) return {};
    call.time_out = std::move(own);
  }
  std::memcpy(&time, call.time_out->bytes.data(), sizeof(time));
  const uint64_t whole_ns =
      static_cast<uint64_t>(time.tv_sec) * kNsPerSecond + static_cast<uint64_t>(time.tv_nsec);
  const uint64_t rest_ns = whole_ns > waited_ns ? whole_ns - waited_ns : 0;
  time.tv_sec = static_cast<time_t>(rest_ns / kNsPerSecond);
  time.tv_nsec = static_cast<long>(rest_ns % kNsPerSecond);
  return tracee_.write_memory(pointer, {reinterpret_cast<const uint8_t*>(&time), sizeof(time)});
}

Result<void> Recorder::Impl::restore_time_out(const PendingCall& call, Registers& after) {
  if (call.time_out) {
    // It may be in memory that the guest itself cannot write.
    RCHK_TRY(tracee_.write_memory(call.time_out->address, call.time_out->bytes));
  }
  if (call.again.r10 == call.before.r10) return {};
  after.r10 = call.before.r10;
  return tracee_.set_registers(after);
}

Result<void> Recorder::Impl::note_pending_signals(const PendingCall& call, int64_t result) {
  const Call& made = call.entry.call;
  if (made.number == nr::rt_sigprocmask || made.number == nr::rt_sigreturn) {
    RCHK_TRY_ASSIGN(const uint64_t mask, tracee_.signal_mask());
    segv_blocked_ = (mask & signal_bit(SIGSEGV)) != 0;
  }
  if (call.answer || !may_raise(made, result)) return {};
  RCHK_TRY_ASSIGN(const SignalStatus status, read_signal_status(tracee_.pid()));
  pending_at_event_ = status.pending & ~status.blocked;
  return {};
}

Result<void> Recorder::Impl::add_writes(const PendingCall& call, const Registers& after,
                                        trace::SyscallEvent& event) {
  const Call& made = call.entry.call;
  const auto result = static_cast<int64_t>(after.rax);
  if (!call.answer && made.number == nr::sched_getaffinity && result > 0 &&
      is_self(made.arguments[0], tracee_.pid())) {
    // What the guest was started with, not the one core that it was pinned to.
    std::vector<uint8_t> mask(static_cast<size_t>(result));
    for (const int cpu : allowed_cpus_) {
      const auto byte = static_cast<size_t>(cpu) / 8;
      if (byte < mask.size()) mask[byte] |= static_cast<uint8_t>(1u << (cpu % 8));
    }
    RCHK_TRY(tracee_.write_memory({made.arguments[2]}, mask));
  }
  if (!call.answer && made.number == nr::prctl && made.arguments[0] == PR_GET_TSC && result == 0) {
    const int32_t enabled = PR_TSC_ENABLE;
    RCHK_TRY(tracee_.write_memory({made.arguments[1]},
                                  {reinterpret_cast<const uint8_t*>(&enabled), sizeof(enabled)}));
  }
  if (call.answer) return {};
  const syscalls::Outputs outputs = syscalls::outputs(call.entry, result, GuestReader(tracee_));
  if (!outputs.complete) {
    say_once(fmt::format("{} may have changed memory in a way that is not recorded ({}).",
                         syscalls::name(made.number), outputs.doubt));
  }
  for (const AddressRange& range : outputs.ranges) {
    trace::MemoryWrite write{range.begin, Bytes(range.size())};
    write.bytes.resize(tracee_.read_memory(range.begin, write.bytes));
    if (write.bytes.empty()) continue;
    if (breakpoints_.inserted()) breakpoints_.hide_in(write.address, write.bytes, true, tracee_);
    event.writes.push_back(std::move(write));
  }
  return {};
}

void Recorder::Impl::add_output(const PendingCall& call, int64_t result,
                                trace::SyscallEvent& event) {
  if (call.answer) return;
  const GuestReader memory(tracee_);
  const Call& made = call.entry.call;
  const auto data = syscalls::data_written(made, result, memory);
  if (data) event.output = streams_.stream_of(data->descriptor);
  if (event.output == trace::OutputStream::kNone) {
    for (const auto& change : syscalls::descriptor_changes(call.entry, result, memory)) {
      streams_.apply(change, tracee_.pid());
    }
    return;
  }
  for (const AddressRange& range : data->ranges) {
    const size_t had = event.output_bytes.size();
    event.output_bytes.resize(had + range.size());
    const std::span<uint8_t> part(event.output_bytes.data() + had, range.size());
    event.output_bytes.resize(had + tracee_.read_memory(range.begin, part));
  }
  if (data->source < 0) return;
  std::optional<uint64_t> offset;
  const uint64_t pointer = made.number == nr::sendfile ? made.arguments[2] : made.arguments[1];
  uint64_t value = 0;
  if (pointer != 0 && memory.read({pointer}, {reinterpret_cast<uint8_t*>(&value), 8}) == 8) {
    offset = value;
  }
  event.output_bytes = bytes_moved_from(tracee_.pid(), data->source, data->bytes, offset);
  if (event.output_bytes.size() != data->bytes) {
    say_once(fmt::format("What {} writes to the standard output is not recorded.",
                         syscalls::name(made.number)));
  }
}

Result<Recorder::Impl::MaybeStop> Recorder::Impl::on_call_exit(const RunLimits& limits) {
  RCHK_TRY_ASSIGN(Registers after, tracee_.registers());
  auto result = static_cast<int64_t>(after.rax);
  if (!call_->answer && (result == -EINTR || is_restart(result))) {
    RCHK_TRY_ASSIGN(const bool restarted, restart_interrupted(after));
    if (restarted) return MaybeStop();
  }
  PendingCall call = std::move(*call_);
  call_.reset();
  if (call.answer) {
    result = *call.answer;
    after.rax = static_cast<uint64_t>(result);
    RCHK_TRY(tracee_.set_registers(after));
  }
  if (call.continued) RCHK_TRY(restore_time_out(call, after));
  const Call& made = call.entry.call;
  trace::SyscallEvent event;
  event.number = made.number;
  // The instruction itself has overwritten these when the entry stop comes (SDM vol. 2B, SYSCALL).
  call.before.rcx = after.rcx;
  call.before.r11 = after.r11;
  event.before = call.before;
  event.after = after;
  event.after.orig_rax = kNoCall;
  if (!call.answer && class_of(made) == syscalls::Class::kAddressSpace) {
    const auto effects = syscalls::address_space_effects(made, result, brk_);
    if (made.number == nr::brk) brk_ = {static_cast<uint64_t>(result)};
    RCHK_TRY_ASSIGN(AddressChanges changes,
                    recorded_changes(effects, tracee_, files_, space_,
                                     [this](std::string_view text) { say(text); }));
    event.changes = std::move(changes.changes);
    event.writes = std::move(changes.writes);
  }
  if (!call.answer) {
    AddressChanges changes;
    RCHK_TRY(add_file_changes(made, result, tracee_, files_, space_, changes));
    std::move(changes.changes.begin(), changes.changes.end(), std::back_inserter(event.changes));
    std::move(changes.writes.begin(), changes.writes.end(), std::back_inserter(event.writes));
  }
  RCHK_TRY(add_writes(call, after, event));
  add_output(call, result, event);
  RCHK_TRY(note_pending_signals(call, result));

  MaybeStop stop;
  if (limits.stop_at_breakpoints && !watchpoints_.empty()) {
    for (const trace::MemoryWrite& write : event.writes) {
      const auto hit =
          watchpoints_.changed_in(range_of(write.address, write.bytes.size()), tracee_);
      if (hit) stop = RecorderStop{.cause = StopCause::kWatchpoint, .address = hit->address};
    }
  }
  last_registers_ = event.after;
  RCHK_TRY(append(std::move(event)));
  ++calls_done_;
  RCHK_TRY(checksum_if_due(last_registers_));
  if (call.breakpoints_were_in) breakpoints_.insert_all(tracee_);
  return stop;
}

}  // namespace rchk::record
