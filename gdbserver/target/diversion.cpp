#include "gdbserver/target/diversion.h"

#include <algorithm>
#include <csignal>

#include "engine/translate/decode.h"

namespace rchk::target {

using translate::StopReason;

namespace {

constexpr uint64_t kSlice = 60'000'000;

}  // namespace

Result<Diversion::Outcome> Diversion::run(const Command& command) {
  translate::Engine& engine = replayer_.engine();
  RCHK_TRY(engine.attach(*guest_.puppet));
  changed_ = false;
  if (command.console && !told_ && !is_called(command)) {
    command.console(
        "rchk: registers were changed: this runs a copy of the program, which can do little "
        "outside of its memory, and is dropped by any step back\n");
    told_ = true;
  }
  translate::Probes probes;
  if (!command.single_step) probes.breakpoints = command.breakpoints;
  probes.watchpoints = command.watchpoints;
  RCHK_TRY(replayer_.set_probes(probes));
  translate::RunRequest request;
  request.instruction_limit = command.single_step ? 1 : kSlice;
  // A debugger steps off a breakpoint by itself. One that it has moved the pc to counts.
  request.report_at_start = true;
  for (;;) {
    RCHK_TRY_ASSIGN(const translate::Stop stop, engine.run(guest_.registers, request));
    switch (stop.reason) {
      case StopReason::kInstructionLimit:
        if (command.single_step) return Outcome{};
        if (command.interrupted && command.interrupted()) return Outcome{End::kInterrupted, {}, 0};
        break;
      case StopReason::kBreakpoint:
        return Outcome{End::kBreakpoint, guest_.registers.pc(), 0};
      case StopReason::kSyscall: {
        RCHK_TRY_ASSIGN(const std::optional<Outcome> end, system_call(command));
        if (end) return *end;
        if (command.single_step) return Outcome{};
        if (command.interrupted && command.interrupted()) return Outcome{End::kInterrupted, {}, 0};
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
        return Outcome{.end = End::kWatchpoint, .watch = stop.probe};
      case StopReason::kStateCandidate:
      case StopReason::kUnlogged:
        break;
    }
  }
}

bool Diversion::is_called(const Command& command) const {
  uint64_t back = 0;
  const GuestAddress stack{guest_.registers.rsp};
  std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&back), sizeof(back));
  if (guest_.puppet->read_memory(stack, bytes) != sizeof(back)) return false;
  const auto& all = command.breakpoints;
  return std::find(all.begin(), all.end(), GuestAddress{back}) != all.end();
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

}  // namespace rchk::target
