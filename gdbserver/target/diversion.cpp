#include "gdbserver/target/diversion.h"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <sys/mman.h>
#include <sys/syscall.h>

#include "engine/translate/decode.h"

namespace rchk::target {

using translate::StopReason;

namespace {

constexpr uint64_t kSlice = 60'000'000;

}  // namespace

Result<Diversion::Outcome> Diversion::run(const Command& command) {
  translate::Engine& engine = replayer_.engine();
  RCHK_TRY(engine.attach(*guest_.puppet));
  translate::Probes probes;
  if (!command.single_step) probes.breakpoints = command.breakpoints;
  RCHK_TRY(replayer_.set_probes(probes));
  translate::RunRequest request;
  request.instruction_limit = command.single_step ? 1 : kSlice;
  for (;;) {
    RCHK_TRY_ASSIGN(const translate::Stop stop, engine.run(guest_.registers, request));
    request.report_at_start = true;
    switch (stop.reason) {
      case StopReason::kInstructionLimit:
        if (command.single_step) return Outcome{};
        if (command.interrupted && command.interrupted()) return Outcome{End::kInterrupted, {}, 0};
        break;
      case StopReason::kBreakpoint:
        return Outcome{End::kBreakpoint, guest_.registers.pc(), 0};
      case StopReason::kSyscall: {
        RCHK_TRY_ASSIGN(const bool ends, system_call(command));
        if (ends) return Outcome{End::kExit, {}, 0};
        if (command.single_step) return Outcome{};
        break;
      }
      case StopReason::kTrapped: {
        RCHK_TRY_ASSIGN(const bool answered, replayer_.answer_xsavec(guest_));
        if (answered && command.single_step) return Outcome{};
        if (answered) break;
        RCHK_TRY(skip_trapped());
        if (command.single_step) return Outcome{};
        break;
      }
      case StopReason::kFault:
        return Outcome{End::kSignal, {}, stop.signal};
      case StopReason::kUnsupported:
        return Outcome{End::kSignal, {}, SIGILL};
      case StopReason::kWatchpoint:
      case StopReason::kStateCandidate:
        break;
    }
  }
}

// CPUID, RDTSC and their like: zeros will do for what is thrown away.
Result<void> Diversion::skip_trapped() {
  uint8_t code[translate::kMaxInstructionBytes] = {};
  const size_t got = guest_.puppet->read_memory(guest_.registers.pc(), code);
  translate::Instruction instruction;
  if (translate::decode(code, got, instruction) != translate::DecodeStatus::kOk) {
    return fail(ErrorKind::kSystem,
                fmt::format("the instruction at {} cannot be read", guest_.registers.pc()));
  }
  // RDRAND and RDSEED say in the carry flag that they have a value; their register keeps its own.
  if (translate::is_random(instruction)) {
    guest_.registers.rflags |= 1;
  } else {
    guest_.registers.rax = guest_.registers.rdx = 0;
  }
  guest_.registers.rip += instruction.length;
  return {};
}

Result<bool> Diversion::system_call(const Command& command) {
  constexpr uint64_t kMostOutput = 1 << 20;
  Registers& registers = guest_.registers;
  const auto number = static_cast<int64_t>(registers.rax);
  int64_t result = -ENOSYS;
  const AddressRange range = range_of({registers.rdi}, registers.rsi).pages();
  switch (number) {
    case SYS_exit:
    case SYS_exit_group:
      return true;
    case SYS_write:
      if (registers.rdi == 1 || registers.rdi == 2) {
        std::string text(std::min(registers.rdx, kMostOutput), '\0');
        text.resize(guest_.puppet->read_memory(
            {registers.rsi}, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
        if (command.console) command.console(text);
        result = static_cast<int64_t>(text.size());
      }
      break;
    case SYS_mmap:
      if ((registers.r10 & MAP_ANONYMOUS) != 0 && (registers.r10 & MAP_FIXED) == 0) {
        const uint64_t size = GuestAddress{registers.rsi}.page_ceiling().value;
        const auto place =
            guest_.puppet->free_range_near(range_of(registers.pc().page_floor(), kPageSize), size);
        result = -ENOMEM;
        if (!place) break;
        snapshot::Mapping mapping;
        mapping.range = range_of(*place, size);
        mapping.protection = static_cast<uint8_t>(registers.rdx & 7);
        RCHK_TRY(guest_.puppet->map(mapping, {}));
        result = static_cast<int64_t>(place->value);
      }
      break;
    case SYS_munmap:
      replayer_.engine().invalidate(range);
      RCHK_TRY(guest_.puppet->unmap_guest(range));
      result = 0;
      break;
    case SYS_brk:
      result = 0;  // no change: malloc falls back on mmap
      break;
    default:
      break;
  }
  registers.rcx = registers.rip + 2;
  registers.r11 = registers.rflags;
  registers.rax = static_cast<uint64_t>(result);
  registers.rip += 2;
  return false;
}

}  // namespace rchk::target
