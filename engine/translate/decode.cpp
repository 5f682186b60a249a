#include "engine/translate/decode.h"

#include <cstring>

#include "engine/translate/decode_effects.h"
#include "engine/translate/decode_tables.h"

namespace rchk::translate {

namespace {

// The bytes of one instruction, read in order.
class Cursor {
 public:
  Cursor(const uint8_t* bytes, size_t available) : bytes_(bytes), available_(available) {}

  bool has(size_t count) const { return position_ + count <= available_; }
  bool truncated() const { return truncated_; }
  uint8_t position() const { return static_cast<uint8_t>(position_); }
  uint8_t peek(size_t ahead = 0) {
    if (!has(ahead + 1)) {
      truncated_ = true;
      return 0;
    }
    return bytes_[position_ + ahead];
  }
  uint8_t next() {
    const uint8_t byte = peek();
    ++position_;
    return byte;
  }
  void skip(size_t count) {
    if (!has(count)) truncated_ = true;
    position_ += count;
  }
  int64_t immediate(size_t count) {
    uint64_t value = 0;
    if (has(count) && count != 0) {
      std::memcpy(&value, bytes_ + position_, count);
      const unsigned shift = 64 - 8 * static_cast<unsigned>(count);
      value = static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift);
    }
    skip(count);
    return static_cast<int64_t>(value);
  }

 private:
  const uint8_t* bytes_;
  size_t available_;
  size_t position_ = 0;
  bool truncated_ = false;
};

void read_modrm(Cursor& cursor, Instruction& out) {
  out.has_modrm = true;
  out.modrm_offset = cursor.position();
  out.modrm = cursor.next();
  const uint8_t mod = out.mod();
  if (mod == 3) return;
  uint8_t base = out.rm();
  uint8_t sib = 0;
  if (base == 4) {
    sib = cursor.next();
    base = sib & 7;
  }
  note_memory_r11(out, sib);
  if (mod == 1) {
    out.displacement_bytes = 1;
  } else if (mod == 2 || base == 5) {
    out.displacement_bytes = 4;
    out.rip_relative = mod == 0 && out.rm() == 5;
  }
  if (out.displacement_bytes != 0) {
    out.displacement_offset = cursor.position();
    cursor.skip(out.displacement_bytes);
  }
}

void read_immediate(Cursor& cursor, Instruction& out, unsigned bytes) {
  out.immediate_bytes = static_cast<uint8_t>(bytes);
  out.immediate = cursor.immediate(bytes);
}

unsigned immediate_z(const Instruction& out) {
  return out.operand_size_16 && (out.rex & 8) == 0 ? 2 : 4;
}

void read_layout(Cursor& cursor, Instruction& out, uint8_t layout) {
  if (layout & tables::kBad) {
    out.kind = InstructionClass::kInvalid;
    return;
  }
  if (layout & tables::kModrm) read_modrm(cursor, out);
  if (layout & tables::kImm8) read_immediate(cursor, out, 1);
  if (layout & tables::kImmZ) read_immediate(cursor, out, immediate_z(out));
}

// Immediates of the one-byte opcodes that no layout describes.
void read_odd_one_byte(Cursor& cursor, Instruction& out) {
  const uint8_t opcode = out.opcode;
  if (opcode >= 0xa0 && opcode <= 0xa3) {
    read_immediate(cursor, out, out.address_size_32 ? 4 : 8);
  } else if (opcode >= 0xb8 && opcode <= 0xbf) {
    read_immediate(cursor, out, (out.rex & 8) ? 8 : out.operand_size_16 ? 2 : 4);
  } else if (opcode == 0xc2 || opcode == 0xca) {
    read_immediate(cursor, out, 2);
  } else if (opcode == 0xc8) {
    read_immediate(cursor, out, 3);
  } else {
    read_immediate(cursor, out, 4);  // E8, E9: always 32 bits (66 with them is unsupported)
  }
}

void decode_one_byte(Cursor& cursor, Instruction& out) {
  const uint8_t opcode = out.opcode;
  const uint8_t layout = tables::kOneByte[opcode];
  if (layout & tables::kOther) {
    read_odd_one_byte(cursor, out);
    return;
  }
  read_layout(cursor, out, layout);
  if ((opcode == 0xf6 || opcode == 0xf7) && out.reg() < 2) {
    read_immediate(cursor, out, opcode == 0xf6 ? 1 : immediate_z(out));
  }
}

void decode_two_byte(Cursor& cursor, Instruction& out) {
  out.opcode_offset = cursor.position();
  out.opcode = cursor.next();
  if (out.opcode == 0x38 || out.opcode == 0x3a) {
    out.map = out.opcode == 0x38 ? 2 : 3;
    out.opcode_offset = cursor.position();
    out.opcode = cursor.next();
    read_modrm(cursor, out);
    if (out.map == 3) read_immediate(cursor, out, 1);
    return;
  }
  out.map = 1;
  if (out.opcode >= 0x80 && out.opcode <= 0x8f) {
    read_immediate(cursor, out, 4);
    return;
  }
  read_layout(cursor, out, tables::kTwoByte[out.opcode]);
  // SSE4a: extrq and insertq with two immediate bytes (AMD64 manual vol. 4).
  if (out.opcode == 0x78 && (out.operand_size_16 || out.rep == 0xf2)) {
    read_immediate(cursor, out, 2);
  }
}

bool vex_has_immediate(const Instruction& out) {
  if (out.map == 3) return true;
  if (out.map != 1) return false;
  return (out.opcode >= 0x70 && out.opcode <= 0x73) || out.opcode == 0xc2 ||
         (out.opcode >= 0xc4 && out.opcode <= 0xc6);
}

constexpr uint8_t kRepOfPp[4] = {0, 0, 0xf3, 0xf2};

void decode_vex(Cursor& cursor, Instruction& out, uint8_t first) {
  out.encoding = Encoding::kVex;
  const uint8_t p1 = cursor.next();
  uint8_t last = p1;
  out.map = 1;
  out.rex = static_cast<uint8_t>((~p1 & 0x80) >> 5);  // R
  if (first == 0xc4) {
    out.map = p1 & 0x1f;
    out.rex |= static_cast<uint8_t>((~p1 & 0x60) >> 5);  // X and B
    last = cursor.next();
    out.rex |= static_cast<uint8_t>((last & 0x80) >> 4);  // W
  }
  out.rep = kRepOfPp[last & 3];
  out.operand_size_16 = (last & 3) == 1;
  out.vector_length = (last >> 2) & 1;
  const uint8_t vvvv = (~last >> 3) & 15;
  out.opcode_offset = cursor.position();
  out.opcode = cursor.next();
  if (out.map == 0 || out.map > 3) out.kind = InstructionClass::kInvalid;
  if (!(out.map == 1 && out.opcode == 0x77)) read_modrm(cursor, out);
  if (vex_has_immediate(out)) read_immediate(cursor, out, 1);
  describe_vector_effects(out, vvvv);
}

void decode_evex(Cursor& cursor, Instruction& out) {
  out.encoding = Encoding::kEvex;
  const uint8_t p0 = cursor.next();
  const uint8_t p1 = cursor.next();
  const uint8_t p2 = cursor.next();
  out.map = p0 & 7;
  out.rex = static_cast<uint8_t>((~p0 & 0xe0) >> 5) | static_cast<uint8_t>((p1 & 0x80) >> 4);
  out.rep = kRepOfPp[p1 & 3];
  out.operand_size_16 = (p1 & 3) == 1;
  out.vector_length = (p2 >> 5) & 3;
  const uint8_t vvvv = (~p1 >> 3) & 15;
  out.opcode_offset = cursor.position();
  out.opcode = cursor.next();
  if (out.map == 0 || out.map == 4 || out.map == 7) out.kind = InstructionClass::kInvalid;
  read_modrm(cursor, out);
  if (vex_has_immediate(out)) read_immediate(cursor, out, 1);
  describe_vector_effects(out, vvvv);
}

// Takes prefixes up to the opcode. False when the instruction is VEX or EVEX and was decoded whole.
bool read_prefixes(Cursor& cursor, Instruction& out) {
  for (;;) {
    const uint8_t byte = cursor.next();
    if (cursor.truncated() || cursor.position() > kMaxInstructionBytes) return false;
    switch (byte) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        break;
      case 0x64:
      case 0x65:
        out.segment = byte;
        break;
      case 0x66:
        out.operand_size_16 = true;
        break;
      case 0x67:
        out.address_size_32 = true;
        break;
      case 0xf0:
        out.lock = true;
        break;
      case 0xf2:
      case 0xf3:
        out.rep = byte;
        break;
      case 0xc4:
      case 0xc5:
      case 0x62: {
        const bool mixed = out.rex != 0 || out.operand_size_16 || out.rep != 0 || out.lock;
        out.rex = 0;
        if (byte == 0x62)
          decode_evex(cursor, out);
        else
          decode_vex(cursor, out, byte);
        if (mixed) out.kind = InstructionClass::kInvalid;  // #UD (SDM vol. 2, 2.3.2 and 2.7.3)
        return false;
      }
      default:
        if ((byte & 0xf0) == 0x40) {
          out.rex = byte;
          continue;  // a REX prefix counts only directly in front of the opcode
        }
        out.opcode = byte;
        out.opcode_offset = static_cast<uint8_t>(cursor.position() - 1);
        return true;
    }
    out.rex = 0;
  }
}

bool is_patched_random(Cursor& cursor, const Instruction& out) {
  constexpr uint8_t kGroup9 = 0xc7, kLeastModrm = 0xf0;  // /6 and /7 with a register
  return out.opcode == kPatchedRandom && cursor.has(2) && cursor.peek() == kGroup9 &&
         cursor.peek(1) >= kLeastModrm && out.rep != 0xf3 && !out.lock;
}

// What is not executed as it is, and would be without the prefix.
void refuse_prefixes(Instruction& out) {
  if (out.kind == InstructionClass::kOrdinary || out.kind == InstructionClass::kUnsupported) return;
  if (out.lock) {
    out.kind = InstructionClass::kInvalid;  // SDM vol. 2A, LOCK
  } else if (is_indirect_branch(out) && out.operand_size_16 && (out.rex & 8) == 0) {
    // AMD's processors take 16 bits then, Intel's all (SDM vol. 2A, JMP).
    out.kind = InstructionClass::kUnsupported;
    out.detail = "a near branch with an operand size prefix";
  }
}

}  // namespace

DecodeStatus decode(const uint8_t* bytes, size_t available, Instruction& out) {
  out = Instruction{};
  Cursor cursor(bytes, available);
  if (read_prefixes(cursor, out)) {
    if (out.opcode == 0x0f || is_patched_random(cursor, out))
      decode_two_byte(cursor, out);
    else
      decode_one_byte(cursor, out);
    if (!cursor.truncated()) describe_legacy_effects(out);
    if (!cursor.truncated()) refuse_prefixes(out);
  }
  if (cursor.position() > kMaxInstructionBytes) {
    out.kind = InstructionClass::kInvalid;  // #GP, which Linux makes SIGSEGV
    out.length = kMaxInstructionBytes;
    return available < kMaxInstructionBytes ? DecodeStatus::kTruncated : DecodeStatus::kOk;
  }
  out.length = cursor.position();
  return cursor.truncated() ? DecodeStatus::kTruncated : DecodeStatus::kOk;
}

}  // namespace rchk::translate
