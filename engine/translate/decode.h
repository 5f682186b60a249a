#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace rchk::translate {

// How the translator must treat an instruction.
enum class InstructionClass : uint8_t {
  kOrdinary,         // copied, with its operands adjusted
  kJump,             // direct
  kConditionalJump,  // jcc
  kCounterJump,      // jrcxz, loop, loope, loopne
  kCall,             // direct
  kIndirectJump,
  kIndirectCall,
  kReturn,
  kFarReturn,  // or IRET; Instruction::detail names where it goes when it cannot be carried out
  kSyscall,
  kTrapped,      // cpuid, rdtsc, rdtscp, rdrand, rdseed, xsavec
  kUnsupported,  // Instruction::detail names it
  kInvalid,      // raises SIGILL
  kTrap,         // int3, int1: raise SIGTRAP behind themselves
};

// The flags of arithmetic, as a set.
enum Flag : uint8_t { kCF = 1, kPF = 2, kAF = 4, kZF = 8, kSF = 16, kOF = 32, kAllFlags = 63 };

enum class Encoding : uint8_t { kLegacy, kVex, kEvex };

// What the rewriting rules need to know of one instruction. Offsets are from its first byte; an
// offset of 0 means that the part is not there.
struct Instruction {
  InstructionClass kind = InstructionClass::kOrdinary;
  Encoding encoding = Encoding::kLegacy;
  uint8_t length = 0;
  uint8_t map = 0;  // 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A, 5 and 6: EVEX only
  uint8_t opcode = 0;
  uint8_t modrm = 0;
  uint8_t rex = 0;      // as written; for VEX and EVEX the equivalent W, R, X and B bits
  uint8_t rep = 0;      // 0, F2 or F3 (of VEX and EVEX: what pp stands for)
  uint8_t segment = 0;  // 0, 64 or 65
  bool operand_size_16 = false;
  bool address_size_32 = false;
  bool lock = false;
  bool has_modrm = false;
  bool rip_relative = false;
  bool uses_r11 = false;  // more often than it really does, never less
  // Touches nothing but general registers and flags, cannot fault and goes on behind itself.
  bool pure = false;
  bool rep_string = false;    // a string instruction with a rep prefix
  uint8_t opcode_offset = 0;  // of the last opcode byte
  uint8_t modrm_offset = 0;
  uint8_t displacement_offset = 0;
  uint8_t displacement_bytes = 0;
  uint8_t immediate_bytes = 0;
  uint8_t vector_length = 0;  // VEX.L or EVEX.L'L
  uint8_t flags_read = kAllFlags;
  uint8_t flags_killed = 0;  // always written, whatever they were
  int64_t immediate = 0;     // sign-extended; of branches the distance from the next instruction
  const char* detail = "";

  bool has_memory_operand() const { return has_modrm && (modrm >> 6) != 3; }
  uint8_t mod() const { return modrm >> 6; }
  uint8_t reg() const { return (modrm >> 3) & 7; }
  uint8_t rm() const { return modrm & 7; }
};

// Whether it is a jump, call or return to where a register or memory says.
inline bool is_indirect_branch(const Instruction& instruction) {
  return instruction.kind == InstructionClass::kIndirectJump ||
         instruction.kind == InstructionClass::kIndirectCall ||
         instruction.kind == InstructionClass::kReturn;
}
// Of 48 bits, sign-extended (SDM vol. 1, 3.3.7.1).
inline bool is_canonical(uint64_t address) {
  return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
}

// Of a kFarReturn: the size in bytes of what it pops, and how many of that.
size_t far_return_word(const Instruction& instruction);
size_t far_return_words(const Instruction& instruction);

// RDPID, and LSL of a register: they may tell which core runs the program.
bool tells_core(const Instruction& instruction);

// RDRAND and RDSEED, whose reg() is 6 and 7.
bool is_random(const Instruction& instruction);
// RDTSC and RDTSCP.
bool reads_counter(const Instruction& instruction);
bool is_cpuid(const Instruction& instruction);

// What nothing makes trap is given a privileged instruction's byte by the recorder: the 0F of
// RDRAND and RDSEED that of HLT; where a kernel's PR_TSC_SIGSEGV does nothing, RDTSC becomes INVD
// (0F 08), RDTSCP SWAPGS (0F 01 F8), and CPUID WBINVD (0F 09). Such a one is decoded like one that
// was left alone (docs/notes/untrapped-instructions.md).
inline constexpr uint8_t kTwoByteOpcode = 0x0f;
inline constexpr uint8_t kPatchedRandom = 0xf4;
struct PatchedByte {
  uint8_t offset = 0;  // in the instruction
  uint8_t original = 0, patched = 0;
  bool operator==(const PatchedByte&) const = default;
};
// Of one that may be patched, patched or not.
std::optional<PatchedByte> patched_byte(const Instruction& instruction);
// Of a byte that may be a patch: which one of an opcode's it is then.
std::optional<size_t> offset_if_patched(uint8_t byte);
inline constexpr size_t kMostPatchedBytes = 3;  // of an opcode, with ModRM

// The longest instruction (SDM vol. 2, 2.3.11).
inline constexpr size_t kMaxInstructionBytes = 15;

enum class DecodeStatus : uint8_t {
  kOk,
  kTruncated,  // `available` bytes end inside the instruction
};

// Decodes one instruction in 64-bit mode. Never reads past `available`.
DecodeStatus decode(const uint8_t* bytes, size_t available, Instruction& out);

}  // namespace rchk::translate
