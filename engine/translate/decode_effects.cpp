#include "engine/translate/decode_effects.h"

namespace rchk::translate {

namespace {

constexpr uint8_t kRexR = 4, kRexX = 2, kRexB = 1;
constexpr uint8_t kLow11 = 3;  // the low three bits of 11

// RDTSC, RDTSCP and CPUID, and INVD, SWAPGS and WBINVD in their place.
constexpr uint8_t kRdtsc = 0x31, kInvd = 0x08, kCpuid = 0xa2, kWbinvd = 0x09;
constexpr uint8_t kGroup7 = 0x01, kRdtscpModrm = 0xf9, kSwapgsModrm = 0xf8;

// What the conditions of jcc, setcc and cmovcc read, by the high three bits of the condition.
constexpr uint8_t kConditionReads[8] = {kOF, kCF, kZF,       kCF | kZF,
                                        kSF, kPF, kSF | kOF, kSF | kOF | kZF};

uint8_t condition_reads(uint8_t opcode) { return kConditionReads[(opcode >> 1) & 7]; }

void flags(Instruction& out, uint8_t read, uint8_t killed) {
  out.flags_read = read;
  out.flags_killed = killed;
}

bool memory_uses_r11(const Instruction& out, uint8_t sib) {
  if (!out.has_memory_operand()) return false;
  if (out.rm() != 4) return out.rm() == kLow11 && (out.rex & kRexB);
  return ((sib & 7) == kLow11 && (out.rex & kRexB)) ||
         (((sib >> 3) & 7) == kLow11 && (out.rex & kRexX));
}

// True for 0F-map instructions whose reg (or, with mod 3, rm) field names a vector register.
bool reg_is_vector(uint8_t op) {
  return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2b) || op == 0x2e || op == 0x2f ||
         (op >= 0x51 && op <= 0x7f && op != 0x78) || op == 0x2a || op == 0xc2 || op == 0xc4 ||
         op == 0xc6 || (op >= 0xd0 && op != 0xd7);
}
bool rm_is_vector(uint8_t op) {
  if (op == 0x6e || op == 0x7e || op == 0x2a || op == 0xc4) return false;
  if (op == 0x50 || op == 0x2c || op == 0x2d || op == 0xc5 || op == 0xd7) return true;
  return reg_is_vector(op);
}

bool has_register_in_opcode(const Instruction& out) {
  if (out.map == 1) return out.opcode >= 0xc8 && out.opcode <= 0xcf;
  if (out.map != 0) return false;
  return (out.opcode >= 0x50 && out.opcode <= 0x5f) || (out.opcode >= 0x90 && out.opcode <= 0x97) ||
         (out.opcode >= 0xb0 && out.opcode <= 0xbf);
}

// 0F38 and 0F3A instructions with general registers in reg or rm.
bool legacy_long_map_is_general(const Instruction& out) {
  if (out.map == 2) return out.opcode >= 0xf0 || out.opcode == 0x8a || out.opcode == 0x8b;
  return (out.opcode >= 0x14 && out.opcode <= 0x17) || out.opcode == 0x20 || out.opcode == 0x22 ||
         out.opcode == 0xf0 || out.opcode == 0xcc;
}

void find_r11_legacy(Instruction& out) {
  if (has_register_in_opcode(out)) {
    out.uses_r11 = (out.opcode & 7) == kLow11 && (out.rex & kRexB);
    return;
  }
  if (!out.has_modrm) return;
  bool reg_general = true, rm_general = true;
  if (out.map == 1) {
    reg_general = !reg_is_vector(out.opcode);
    rm_general = !rm_is_vector(out.opcode);
  } else if (out.map >= 2) {
    reg_general = rm_general = legacy_long_map_is_general(out);
  }
  if (reg_general && out.reg() == kLow11 && (out.rex & kRexR)) out.uses_r11 = true;
  if (rm_general && out.mod() == 3 && out.rm() == kLow11 && (out.rex & kRexB)) out.uses_r11 = true;
}

// Group 1 and the eight rows at the start of the one-byte map: add or adc sbb and sub xor cmp.
void arithmetic(Instruction& out, uint8_t operation) {
  flags(out, operation == 2 || operation == 3 ? kCF : 0, kAllFlags);
  out.pure = !out.has_memory_operand();
}

void shift(Instruction& out, uint8_t operation, unsigned count_known_nonzero) {
  out.pure = !out.has_memory_operand();
  if (operation == 2 || operation == 3) {
    flags(out, kCF, 0);  // rcl, rcr
  } else if (operation < 2 || count_known_nonzero == 0) {
    flags(out, 0, 0);  // rotations leave four flags; a count of 0 leaves all
  } else {
    flags(out, 0, kAllFlags);
  }
}

void group3(Instruction& out) {
  const uint8_t operation = out.reg();
  out.pure = !out.has_memory_operand() && operation < 6;
  if (operation < 2 || operation == 3)
    flags(out, 0, kAllFlags);  // test, neg
  else if (operation == 2)
    flags(out, 0, 0);  // not
  else
    flags(out, 0, operation < 6 ? kCF | kOF : 0);  // mul, imul, div, idiv
}

void group5(Instruction& out) {
  switch (out.reg()) {
    case 0:
    case 1:
      flags(out, 0, kAllFlags & ~kCF);
      out.pure = !out.has_memory_operand();
      break;
    case 2:
      out.kind = InstructionClass::kIndirectCall;
      break;
    case 4:
      out.kind = InstructionClass::kIndirectJump;
      break;
    case 3:
    case 5:
      out.kind = InstructionClass::kUnsupported;
      out.detail = "a far jump or call";
      break;
    case 6:
      flags(out, 0, 0);
      break;
    default:
      out.kind = InstructionClass::kInvalid;
  }
}

void unsupported(Instruction& out, const char* name) {
  out.kind = InstructionClass::kUnsupported;
  out.detail = name;
}

bool is_string_operation(uint8_t op) {
  return (op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf);
}

// The upper half of the one-byte map.
void describe_one_byte_high(Instruction& out) {
  const uint8_t op = out.opcode;
  const bool memory = out.has_memory_operand();
  if (is_string_operation(op)) {
    out.rep_string = out.rep != 0;
    const bool compares = op == 0xa6 || op == 0xa7 || op == 0xae || op == 0xaf;
    flags(out, 0, compares && out.rep == 0 ? kAllFlags : 0);
    return;
  }
  switch (op) {
    case 0xa8:
    case 0xa9:
      flags(out, 0, kAllFlags);
      out.pure = true;
      return;
    case 0xc0:
    case 0xc1: {
      const unsigned mask = (out.rex & 8) ? 63 : 31;
      unsigned count = static_cast<unsigned>(out.immediate) & mask;
      // Of 8 and 16 bit operands a count of more than the size is left alone.
      if (op == 0xc0 ? count > 8 : out.operand_size_16 && count > 16) count = 0;
      return shift(out, out.reg(), count);
    }
    case 0xd0:
    case 0xd1:
      return shift(out, out.reg(), 1);
    case 0xd2:
    case 0xd3:
      return shift(out, out.reg(), 0);
    case 0xc2:
    case 0xc3:
      out.kind = InstructionClass::kReturn;
      return;
    case 0xc6:
    case 0xc7:
      flags(out, 0, 0);
      out.pure = !memory;
      if (out.modrm == 0xf8) {
        out.pure = false;
        if (op == 0xc7) unsupported(out, "XBEGIN");
      } else if (out.reg() != 0) {
        out.kind = InstructionClass::kInvalid;
      }
      return;
    case 0xc8:
    case 0xc9:
      flags(out, 0, 0);
      return;
    case 0xca:
    case 0xcb:
    case 0xcf:
      out.kind = InstructionClass::kFarReturn;
      out.detail = op == 0xcf ? "IRET to a 32-bit segment, or to be traced"
                              : "a far return to a 32-bit segment";
      return;
    case 0xcc:
    case 0xf1:
      out.kind = InstructionClass::kTrap;
      return;
    case 0xcd:
      if (out.immediate == static_cast<int8_t>(0x80)) return unsupported(out, "INT 0x80");
      if (out.immediate == 3 || out.immediate == 4) out.kind = InstructionClass::kTrap;
      return;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
      flags(out, op < 0xe2 ? kZF : 0, 0);
      out.kind = InstructionClass::kCounterJump;
      return;
    case 0xe8:
    case 0xe9:
    case 0xeb:
      flags(out, 0, 0);
      out.kind = op == 0xe8 ? InstructionClass::kCall : InstructionClass::kJump;
      if (out.operand_size_16 && (out.rex & 8) == 0)
        unsupported(out, "a near branch with an operand size prefix");
      return;
    case 0xf5:
      flags(out, kCF, kCF);
      out.pure = true;
      return;
    case 0xf8:
    case 0xf9:
      flags(out, 0, kCF);
      out.pure = true;
      return;
    case 0xfc:
    case 0xfd:
      flags(out, 0, 0);
      out.pure = true;
      return;
    case 0xf6:
    case 0xf7:
      return group3(out);
    case 0xfe:
      if (out.reg() > 1) {
        out.kind = InstructionClass::kInvalid;
        return;
      }
      flags(out, 0, kAllFlags & ~kCF);
      out.pure = !memory;
      return;
    case 0xff:
      return group5(out);
    default:
      if (op >= 0xb0 && op <= 0xbf) {
        flags(out, 0, 0);
        out.pure = true;
      } else if ((op >= 0xa0 && op <= 0xa3) || op == 0xd7) {
        flags(out, 0, 0);
      }
  }
}

void describe_one_byte(Instruction& out) {
  const uint8_t op = out.opcode;
  const bool memory = out.has_memory_operand();
  if (op < 0x40) return arithmetic(out, op >> 3);
  if (op >= 0xa0) return describe_one_byte_high(out);
  if (op >= 0x50 && op < 0x60) return flags(out, 0, 0);
  if (op >= 0x70 && op < 0x80) {
    flags(out, condition_reads(op), 0);
    out.kind = InstructionClass::kConditionalJump;
    if (out.operand_size_16 && (out.rex & 8) == 0)
      unsupported(out, "a near branch with an operand size prefix");
    return;
  }
  if (op >= 0x6c && op <= 0x6f) return describe_one_byte_high(out);
  if (op >= 0x90 && op <= 0x99) {  // nop, pause, xchg, cbw, cwd
    out.pure = true;
    return flags(out, 0, 0);
  }
  switch (op) {
    case 0x80:
    case 0x81:
    case 0x83:
      return arithmetic(out, out.reg());
    case 0x63:
    case 0x86:
    case 0x87:
    case 0x88:
    case 0x89:
    case 0x8a:
    case 0x8b:
      flags(out, 0, 0);
      out.pure = !memory;
      return;
    case 0x8d:
      flags(out, 0, 0);
      out.pure = memory;
      if (!memory) out.kind = InstructionClass::kInvalid;
      return;
    case 0x84:
    case 0x85:
      flags(out, 0, kAllFlags);
      out.pure = !memory;
      return;
    case 0x69:
    case 0x6b:
      flags(out, 0, kCF | kOF);
      out.pure = !memory;
      return;
    case 0x68:
    case 0x6a:
    case 0x8f:
      if (op == 0x8f && out.reg() != 0)
        out.kind = InstructionClass::kInvalid;  // XOP: gone since Zen
      return flags(out, 0, 0);
    case 0x9e:  // sahf
      out.pure = true;
      return flags(out, 0, kAllFlags & ~kOF);
    case 0x9f:
      out.pure = true;
      return;
    default:
      return;
  }
}

void describe_group_c7(Instruction& out) {
  if (out.has_memory_operand()) {
    // What XSAVEC stores depends on more than the guest's state (docs/notes/xsave.md).
    const bool prefixed = out.operand_size_16 || out.rep != 0 || out.lock;
    if (out.reg() == 4 && !prefixed) out.kind = InstructionClass::kTrapped;
    return;
  }
  if (is_random(out) || tells_core(out)) out.kind = InstructionClass::kTrapped;
}

void describe_two_byte(Instruction& out) {
  const uint8_t op = out.opcode;
  const bool memory = out.has_memory_operand();
  if (op >= 0x80 && op <= 0x8f) {
    flags(out, condition_reads(op), 0);
    out.kind = InstructionClass::kConditionalJump;
    if (out.operand_size_16 && (out.rex & 8) == 0)
      unsupported(out, "a near branch with an operand size prefix");
    return;
  }
  if ((op >= 0x40 && op <= 0x4f) || (op >= 0x90 && op <= 0x9f)) {
    flags(out, condition_reads(op), 0);
    out.pure = !memory;
    return;
  }
  if (op >= 0xc8 && op <= 0xcf) {
    out.pure = true;
    return flags(out, 0, 0);
  }
  switch (op) {
    case 0x01:
    case 0x08:
    case 0x31:
      if (reads_counter(out)) out.kind = InstructionClass::kTrapped;
      return;
    case 0x03:
      if (tells_core(out)) out.kind = InstructionClass::kTrapped;
      return;
    case 0x05:
      out.kind = InstructionClass::kSyscall;
      return;
    case 0x09:
    case 0xa2:
      if (is_cpuid(out)) out.kind = InstructionClass::kTrapped;
      return;
    case 0x34:
      return unsupported(out, "SYSENTER");
    case 0x0b:
    case 0xb9:
    case 0xff:
      out.kind = InstructionClass::kInvalid;
      return;
    case 0x0d:
    case 0x18:
    case 0x19:
    case 0x1a:
    case 0x1b:
    case 0x1c:
    case 0x1d:
    case 0x1f:
      out.pure = !memory || op == 0x1f || op == 0x0d || op == 0x18;
      return flags(out, 0, 0);
    case 0x1e:
      out.pure = out.rep == 0xf3 && (out.modrm == 0xfa || out.modrm == 0xfb);  // endbr
      return flags(out, 0, 0);
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
      out.pure = !memory;
      return flags(out, 0, 0);
    case 0xaf:
      out.pure = !memory;
      return flags(out, 0, kCF | kOF);
    case 0xb8:
      if (out.rep != 0xf3) {
        out.kind = InstructionClass::kInvalid;
        return;
      }
      out.pure = !memory;
      return flags(out, 0, kAllFlags);
    case 0xbc:
    case 0xbd:  // bsf, bsr, tzcnt, lzcnt: what is undefined stays as it was
      out.pure = !memory;
      return flags(out, 0, 0);
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xba:
    case 0xbb:
      out.pure = !memory;
      return flags(out, 0, kCF);
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad:
      out.pure = !memory;
      return flags(out, 0, 0);
    case 0xb0:
    case 0xb1:
    case 0xc0:
    case 0xc1:
      out.pure = !memory;
      return flags(out, 0, kAllFlags);
    case 0xc7:
      return describe_group_c7(out);
    default:
      if (reg_is_vector(op) && op != 0x2e && op != 0x2f) flags(out, 0, 0);
  }
}

}  // namespace

size_t far_return_word(const Instruction& instruction) {
  if ((instruction.rex & 8) != 0) return 8;
  return instruction.operand_size_16 ? 2 : 4;
}

size_t far_return_words(const Instruction& instruction) {
  constexpr uint8_t kIret = 0xcf;
  return instruction.opcode == kIret ? 5 : 2;
}

bool tells_core(const Instruction& instruction) {
  constexpr uint8_t kLsl = 0x03, kGroup9 = 0xc7;
  const bool is_ours = instruction.encoding == Encoding::kLegacy && instruction.map == 1 &&
                       instruction.has_modrm && !instruction.has_memory_operand() &&
                       !instruction.lock;
  if (!is_ours) return false;
  if (instruction.opcode == kGroup9) return instruction.reg() == 7 && instruction.rep == 0xf3;
  return instruction.opcode == kLsl && !instruction.operand_size_16;
}

bool is_random(const Instruction& instruction) {
  constexpr uint8_t kGroup9 = 0xc7;
  return instruction.encoding == Encoding::kLegacy && instruction.map == 1 &&
         instruction.opcode == kGroup9 && !instruction.has_memory_operand() &&
         instruction.reg() >= 6 && instruction.rep != 0xf3 && !instruction.lock;
}

bool reads_counter(const Instruction& instruction) {
  if (instruction.encoding != Encoding::kLegacy || instruction.map != 1 || instruction.lock) {
    return false;
  }
  const uint8_t opcode = instruction.opcode;
  if (opcode == kGroup7) {
    return instruction.modrm == kRdtscpModrm || instruction.modrm == kSwapgsModrm;
  }
  return opcode == kRdtsc || opcode == kInvd;
}

bool is_cpuid(const Instruction& instruction) {
  return instruction.encoding == Encoding::kLegacy && instruction.map == 1 && !instruction.lock &&
         (instruction.opcode == kCpuid ||
          (instruction.opcode == kWbinvd && instruction.rep != 0xf3));  // else WBNOINVD
}

std::optional<PatchedByte> patched_byte(const Instruction& instruction) {
  const uint8_t opcode_at = instruction.opcode_offset;
  // Its opcode offset is that of the second byte.
  if (is_random(instruction)) {
    return PatchedByte{static_cast<uint8_t>(opcode_at - 1), kTwoByteOpcode, kPatchedRandom};
  }
  if (is_cpuid(instruction)) return PatchedByte{opcode_at, kCpuid, kWbinvd};
  if (!reads_counter(instruction)) return std::nullopt;
  if (instruction.opcode == kGroup7) {
    return PatchedByte{instruction.modrm_offset, kRdtscpModrm, kSwapgsModrm};
  }
  return PatchedByte{opcode_at, kRdtsc, kInvd};
}

std::optional<size_t> offset_if_patched(uint8_t byte) {
  switch (byte) {
    case kPatchedRandom:
      return 0;
    case kInvd:
    case kWbinvd:
      return 1;
    case kSwapgsModrm:
      return 2;
    default:
      return std::nullopt;
  }
}

void describe_legacy_effects(Instruction& out) {
  if (out.kind == InstructionClass::kInvalid) return;
  // A prefix that the opcode does not take raises #UD: nothing about it is pure.
  if (out.map == 0)
    describe_one_byte(out);
  else if (out.map == 1)
    describe_two_byte(out);
  find_r11_legacy(out);
  if (out.lock) out.pure = false;
}

void describe_vector_effects(Instruction& out, uint8_t vvvv) {
  bool reg_general = false, rm_general = false, v_general = false;
  const uint8_t op = out.opcode;
  if (out.map == 1 || out.map == 5) {
    const bool mask_operation = out.encoding == Encoding::kVex &&
                                ((op >= 0x41 && op <= 0x4b) || (op >= 0x90 && op <= 0x99));
    rm_general =
        mask_operation || op == 0x2a || op == 0x6e || op == 0x7e || op == 0xc4 || op == 0x7b;
    reg_general = mask_operation || op == 0x2c || op == 0x2d || op == 0x50 || op == 0xc5 ||
                  op == 0xd7 || op == 0x78 || op == 0x79;
    rm_general = rm_general || op == 0x78 || op == 0x79 || op == 0x7a;
  } else if (out.map == 2) {
    if (op >= 0xf0) reg_general = rm_general = v_general = true;
    if (out.encoding == Encoding::kEvex && op >= 0x7a && op <= 0x7c) rm_general = true;
    if (op >= 0xe0 && op <= 0xef) reg_general = rm_general = v_general = true;  // cmpccxadd
  } else if (out.map == 3) {
    reg_general = op == 0xf0;
    rm_general = op == 0xf0 || (op >= 0x14 && op <= 0x17) || op == 0x20 || op == 0x22;
  }
  if (reg_general && out.reg() == kLow11 && (out.rex & kRexR)) out.uses_r11 = true;
  if (rm_general && out.mod() == 3 && out.rm() == kLow11 && (out.rex & kRexB)) out.uses_r11 = true;
  if (v_general && vvvv == 11) out.uses_r11 = true;
}

void note_memory_r11(Instruction& out, uint8_t sib) {
  if (memory_uses_r11(out, sib)) out.uses_r11 = true;
}

}  // namespace rchk::translate
