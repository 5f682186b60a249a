#include "engine/record/cpu.h"

#include <algorithm>

#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "engine/tracee/machine_probe.h"
#include "engine/translate/decode.h"

namespace rchk::record {

namespace {

constexpr size_t kLongestInstruction = 15;

// SDM vol. 2A, CPUID: the features that are hidden.
constexpr uint32_t kLeaf1EcxRdrand = 1u << 30;
constexpr uint32_t kLeaf7EbxHle = 1u << 4, kLeaf7EbxRtm = 1u << 11, kLeaf7EbxRdseed = 1u << 18;
constexpr uint32_t kLeaf7EcxWaitpkg = 1u << 5;

// More subleaves than any leaf has; ends the search in ones that say nothing of their end.
constexpr uint32_t kMostSubleaves = 64;

bool is_prefix(uint8_t byte) {
  switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:  // segments
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
      return true;
    default:
      return (byte & 0xf0) == 0x40;  // REX
  }
}

bool is_string_opcode(uint8_t byte) {
  return (byte >= 0x6c && byte <= 0x6f) || (byte >= 0xa4 && byte <= 0xa7) ||
         (byte >= 0xaa && byte <= 0xaf);
}

void add_leaves(uint32_t first, bool mask, std::vector<trace::CpuidLeaf>& out) {
  constexpr uint32_t kMostLeaves = 0x100;
  constexpr uint32_t kExtendedStateLeaf = 13;
  const uint32_t last = guest_cpuid(first, 0, mask).eax;
  if (last < first || last - first > kMostLeaves) return;
  for (uint32_t leaf = first; leaf <= last; ++leaf) {
    trace::CpuidLeaf previous{};
    // A virtual machine takes 20 us for each CPUID: leaf 13 is not asked about state components
    // that its subleaves 0 and 1 do not name.
    uint64_t components = ~0ull;
    if (leaf == kExtendedStateLeaf) {
      const trace::CpuidLeaf user = guest_cpuid(leaf, 0, mask);
      const trace::CpuidLeaf supervisor = guest_cpuid(leaf, 1, mask);
      components = 3 | user.eax | static_cast<uint64_t>(user.edx) << 32 | supervisor.ecx |
                   static_cast<uint64_t>(supervisor.edx) << 32;
    }
    for (uint32_t subleaf = 0; subleaf < kMostSubleaves; ++subleaf) {
      if ((components >> subleaf & 1) == 0) continue;
      trace::CpuidLeaf entry = guest_cpuid(leaf, subleaf, mask);
      trace::CpuidLeaf same = entry;
      same.subleaf = previous.subleaf;
      const bool repeats = subleaf != 0 && same == previous;
      const bool empty = (entry.eax | entry.ebx | entry.ecx | entry.edx) == 0;
      previous = entry;
      // Leaf 13 has holes: components that the processor lacks.
      if (leaf != kExtendedStateLeaf && subleaf != 0 && (repeats || empty)) break;
      if (empty && subleaf != 0) continue;
      out.push_back(entry);
      if (repeats) break;
    }
  }
}

}  // namespace

bool cpuid_can_trap() {
  // Asking for what is the case anyway fails with ENODEV where it cannot be otherwise.
  return syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1) == 0;
}

bool tsc_can_trap() {
  static const bool can = tracee::tsc_traps();
  return can;
}

trace::CpuidLeaf guest_cpuid(uint32_t leaf, uint32_t subleaf, bool mask) {
  trace::CpuidLeaf entry{leaf, subleaf};
  __cpuid_count(leaf, subleaf, entry.eax, entry.ebx, entry.ecx, entry.edx);
  if (mask && leaf == 1) entry.ecx &= ~kLeaf1EcxRdrand;
  if (mask && leaf == 7 && subleaf == 0) {
    entry.ebx &= ~(kLeaf7EbxHle | kLeaf7EbxRtm | kLeaf7EbxRdseed);
    entry.ecx &= ~kLeaf7EcxWaitpkg;
  }
  return entry;
}

std::vector<trace::CpuidLeaf> cpuid_table(bool mask) {
  std::vector<trace::CpuidLeaf> table;
  for (const uint32_t first : {0u, 0x40000000u, 0x80000000u}) add_leaves(first, mask, table);
  // What leaves are answered with that there are not: Intel's processors repeat the highest basic
  // one.
  const uint32_t beyond = guest_cpuid(0, 0, mask).eax + 1;
  const trace::CpuidLeaf entry = guest_cpuid(beyond, 0, mask);
  if ((entry.eax | entry.ebx | entry.ecx | entry.edx) != 0) table.push_back(entry);
  return table;
}

uint64_t read_xcr0() {
  constexpr uint32_t kOsxsave = 1u << 27;
  if ((guest_cpuid(1, 0, false).ecx & kOsxsave) == 0) return 0;
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | static_cast<uint64_t>(high) << 32;
}

// The limit of a segment says the same (arch/x86/include/asm/segment.h, GDT_ENTRY_CPUNODE). A
// hypervisor was found that hides RDPID, and under which RDTSCP names a core of the host's.
uint32_t read_processor_id() {
  constexpr uint32_t kRdpid = 1u << 22;
  constexpr uint32_t kCoreSegment = 0x7b;
  uint32_t limit = 0;
  bool found = false;
  asm("lsl %2, %0" : "=r"(limit), "=@ccz"(found) : "r"(kCoreSegment));
  if (found && (guest_cpuid(7, 0, false).ecx & kRdpid) == 0) return limit;
  unsigned int processor = 0;
  __rdtscp(&processor);
  return processor;
}

Instruction instruction_at(GuestAddress pc, const tracee::Tracee& tracee) {
  uint8_t bytes[kLongestInstruction + 1] = {};
  const size_t got = tracee.read_memory(pc, {bytes, kLongestInstruction});
  size_t at = 0;
  bool rep = false;
  while (at < got && is_prefix(bytes[at])) {
    rep |= bytes[at] == 0xf2 || bytes[at] == 0xf3;
    ++at;
  }
  if (at >= got) return {};
  const auto is = [&](InstructionKind kind, size_t opcode_bytes,
                      trace::TrappedInstruction trapped = trace::TrappedInstruction::kCpuid,
                      bool patched = false) {
    return Instruction{kind, trapped, static_cast<uint8_t>(at + opcode_bytes), patched};
  };
  const uint8_t opcode = bytes[at];
  if (opcode == translate::kPatchedRandom) {
    const auto random = decode_random({bytes, got});
    if (!random) return {};
    return {InstructionKind::kTrapped, random->kind, random->length, true, random};
  }
  const uint8_t second = at + 1 < got ? bytes[at + 1] : 0;
  if (opcode == 0x9c) return is(InstructionKind::kPushFlags, 1);
  if (opcode == 0x9d || opcode == 0xcf) return is(InstructionKind::kPopFlags, 1);
  if (opcode == 0xcd && second == 0x80) return is(InstructionKind::kInt80, 2);
  if (rep && is_string_opcode(opcode)) return is(InstructionKind::kRepString, 1);
  if (opcode != 0x0f) return {};
  switch (second) {
    case 0x05:
      return is(InstructionKind::kSyscall, 2);
    case 0x01:
    case 0x08:
    case 0x09:
    case 0x31:
    case 0xa2: {
      translate::Instruction found;
      if (translate::decode(bytes, got, found) != translate::DecodeStatus::kOk) return {};
      const auto byte = translate::patched_byte(found);
      if (!byte) return {};
      const auto kind = translate::is_cpuid(found) ? trace::TrappedInstruction::kCpuid
                        : second == 0x01           ? trace::TrappedInstruction::kRdtscp
                                                   : trace::TrappedInstruction::kRdtsc;
      const bool patched = bytes[byte->offset] == byte->patched;
      return is(InstructionKind::kTrapped, found.length - at, kind, patched);
    }
    default:
      return {};
  }
}

Registers emulate(const Instruction& instruction, const Registers& before, bool mask_cpuid) {
  constexpr uint64_t kLow = 0xffffffff;
  if (instruction.random) return perform_random(*instruction.random, before);
  Registers after = before;
  after.rip += instruction.length;
  switch (instruction.trapped) {
    case trace::TrappedInstruction::kCpuid: {
      const trace::CpuidLeaf leaf = guest_cpuid(static_cast<uint32_t>(before.rax),
                                                static_cast<uint32_t>(before.rcx), mask_cpuid);
      after.rax = leaf.eax;
      after.rbx = leaf.ebx;
      after.rcx = leaf.ecx;
      after.rdx = leaf.edx;
      break;
    }
    case trace::TrappedInstruction::kRdtsc:
    case trace::TrappedInstruction::kRdtscp: {
      unsigned int processor = 0;
      const uint64_t counter = __rdtscp(&processor);
      after.rax = counter & kLow;
      after.rdx = counter >> 32;
      if (instruction.trapped == trace::TrappedInstruction::kRdtscp) after.rcx = processor;
      break;
    }
    case trace::TrappedInstruction::kRdrand:
    case trace::TrappedInstruction::kRdseed:
      break;  // patched
  }
  return after;
}

}  // namespace rchk::record
