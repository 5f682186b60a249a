#include <csignal>

#include "engine/translate/engine_impl.h"

// Far returns and IRET, which load the segment registers: they are carried out here, as long as
// they stay in the segments of 64-bit programs.
namespace rchk::translate {

namespace {

// What a program may load with IRET (SDM vol. 2, IRET; vol. 1, 3.4.3).
constexpr uint64_t kNestedTaskFlag = 0x4000;
constexpr uint64_t kAlignmentAndIdFlags = 0x240000;
constexpr uint64_t kLoadedFlags = kGuestFlags | kAlignmentAndIdFlags;

constexpr uint64_t kCompatibilityMode = 0x23;  // the code segment of 32-bit programs

}  // namespace

std::optional<Stop> Engine::Impl::far_return(Progress& progress, const Stop& stop) {
  if (stop.reason != StopReason::kUnsupported) return stop;
  const auto step = step_at(progress.registers.pc());
  if (!step || step->instruction.kind != InstructionClass::kFarReturn) return stop;
  const Instruction& instruction = step->instruction;
  Registers& guest = progress.registers;
  const bool is_iret = far_return_words(instruction) == 5;
  const size_t word = far_return_word(instruction);
  const size_t words = far_return_words(instruction);
  uint64_t popped[5] = {};  // rip, cs; of IRET also rflags, rsp, ss
  Stop fault{.reason = StopReason::kFault, .signal = SIGSEGV};
  for (size_t i = 0; i < words; ++i) {
    const GuestAddress at = {guest.rsp + i * word};
    if (host_->read_memory(at, {reinterpret_cast<uint8_t*>(&popped[i]), word}) == word) continue;
    fault.signal_code = SEGV_MAPERR;
    fault.fault_address = at;
    return fault;
  }
  const uint64_t cs = popped[1] & 0xffff;
  const uint64_t ss = is_iret ? popped[4] & 0xffff : guest.ss;
  const bool traps = is_iret && (popped[2] & (kTrapFlag | kNestedTaskFlag)) != 0;
  if (cs == kCompatibilityMode || traps) return stop;
  if (cs != guest.cs || ss != guest.ss || !is_canonical(popped[0])) {
    fault.signal_code = SI_KERNEL;
    return fault;
  }
  guest.rip = popped[0];
  if (is_iret) {
    guest.rflags = (guest.rflags & ~kLoadedFlags) | (popped[2] & kLoadedFlags);
    guest.rsp = popped[3];
  } else {
    guest.rsp += 2 * word + (static_cast<uint64_t>(instruction.immediate) & 0xffff);
  }
  ++progress.retired;
  last_direct_exit_ = 0;
  missed_indirect_ = false;
  return std::nullopt;
}

}  // namespace rchk::translate
