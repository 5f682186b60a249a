#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/registers.h"
#include "base/types.h"
#include "engine/record/untrapped_instructions.h"
#include "engine/trace/event.h"
#include "engine/tracee/tracee.h"

namespace rchk::record {

// True if the processor and the kernel can make CPUID trap (arch_prctl(2), ARCH_SET_CPUID).
bool cpuid_can_trap();

// True if RDTSC can be made to trap (prctl(2), PR_SET_TSC). Some hypervisors execute it all the
// same. Found out once in a process, which takes a child.
bool tsc_can_trap();

// What CPUID shows a guest: the answer of the core that the caller runs on. With `mask`, without
// what would let values past the log (RDRAND, RDSEED) or cannot be replayed (TSX, WAITPKG).
trace::CpuidLeaf guest_cpuid(uint32_t leaf, uint32_t subleaf, bool mask);
// All leaves that there are, the basic ones first; and one beyond the highest basic leaf where such
// are answered.
std::vector<trace::CpuidLeaf> cpuid_table(bool mask);
// XGETBV with ecx = 0.
uint64_t read_xcr0();
// What RDPID, or where there is none, LSL answers on this core.
uint32_t read_processor_id();

// What a recorder must know of the instruction that a guest is about to execute.
enum class InstructionKind : uint8_t {
  kOther,
  kSyscall,    // `syscall`
  kInt80,      // a 32-bit system call
  kTrapped,    // CPUID, RDTSC, RDTSCP, patched or not, or an RDRAND or RDSEED that was patched
  kPushFlags,  // stores the trap flag, which a single step sets
  kPopFlags,   // or IRET: loads it
  kRepString,  // a string instruction with a rep prefix: a single step does one iteration
};
struct Instruction {
  InstructionKind kind = InstructionKind::kOther;
  trace::TrappedInstruction trapped = trace::TrappedInstruction::kCpuid;  // for kTrapped
  uint8_t length = 0;                                                     // unless kOther
  bool patched = false;                                                   // for kTrapped
  std::optional<RandomInstruction> random{};                              // if that is what it is
};
Instruction instruction_at(GuestAddress pc, const tracee::Tracee& tracee);

// The registers after a trapped instruction, as the recorder answers it.
Registers emulate(const Instruction& instruction, const Registers& before, bool mask_cpuid);

}  // namespace rchk::record
