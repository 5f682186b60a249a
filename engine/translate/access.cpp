#include "engine/translate/access.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <cstring>

namespace rchk::translate {

namespace {

// In bytes: of a vector. What stores more is said to store elsewhere.
constexpr uint64_t kMostOfOperand = 64;

// Groups of one-byte opcodes.
bool is_string(uint8_t op) {
  return (op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf);
}
bool string_reads_rsi(uint8_t op) {
  return (op >= 0xa4 && op <= 0xa7) || op == 0xac || op == 0xad || op == 0x6e || op == 0x6f;
}
bool string_reads_rdi(uint8_t op) { return op == 0xa6 || op == 0xa7 || op == 0xae || op == 0xaf; }
bool string_writes_rdi(uint8_t op) {
  return op == 0xa4 || op == 0xa5 || op == 0xaa || op == 0xab || op == 0x6c || op == 0x6d;
}

bool only_loads_one_byte(const Instruction& i) {
  const uint8_t op = i.opcode;
  if (op < 0x40) return (op & 7) == 2 || (op & 7) == 3 || op >= 0x38;
  switch (op) {
    case 0x63:
    case 0x69:
    case 0x6b:
    case 0x84:
    case 0x85:
    case 0x8a:
    case 0x8b:
    case 0x8d:
    case 0x8e:
    case 0xd8:
    case 0xda:
    case 0xdc:
    case 0xde:
      return true;
    case 0x80:
    case 0x81:
    case 0x83:
      return i.reg() == 7;
    case 0xf6:
    case 0xf7:
      return i.reg() != 2 && i.reg() != 3;
    case 0xff:
      return i.reg() >= 2;
    case 0xd9:
    case 0xdd:
      return i.reg() == 0;
    default:
      return false;
  }
}

bool only_loads_two_byte(const Instruction& i) {
  const uint8_t op = i.opcode;
  if (op == 0x10 || op == 0x12 || op == 0x14 || op == 0x15 || op == 0x16 || op == 0x28 ||
      op == 0x2a || (op >= 0x2c && op <= 0x2f)) {
    return true;
  }
  if (op == 0x18 || op == 0x1f || op == 0x0d) return true;
  if (op >= 0x40 && op <= 0x4f && i.encoding == Encoding::kLegacy) return true;
  if (op >= 0x51 && op <= 0x76) return true;
  if (op == 0x7e) return i.rep == 0xf3;
  if (op == 0xa3 || op == 0xaf || op == 0xb6 || op == 0xb7 || op == 0xb8) return true;
  if (op >= 0xbc && op <= 0xbf) return true;
  if (op == 0xba) return i.reg() == 4;
  if (op == 0xc2 || op == 0xc4 || op == 0xc6) return true;
  if (op >= 0xd0 && op <= 0xfe) return op != 0xd6 && op != 0xe7;
  return false;
}

// Stores of more than 64 bytes, or to where no memory operand says.
bool stores_elsewhere(const Instruction& i) {
  const uint8_t op = i.opcode;
  if (i.encoding == Encoding::kLegacy && i.map == 0) {
    if (is_string(op)) return string_writes_rdi(op);
    if (op == 0xc8 || op == 0x8f || (op >= 0xa2 && op <= 0xa3)) return true;
    return op == 0xdd && (i.reg() == 6 || i.reg() == 4);  // fnsave, frstor
  }
  if (i.map == 1 && i.encoding == Encoding::kLegacy) {
    if (op == 0x01 || op == 0xae || op == 0xf7) return true;
    // A bit string that a register indexes may lie anywhere.
    if (op == 0xab || op == 0xb3 || op == 0xbb) return i.has_memory_operand();
    return op == 0xc7 && i.reg() >= 3;  // xsavec, xsaves
  }
  if (i.map == 1) return op == 0xf7;  // vmaskmovdqu
  if (i.map == 2) {
    if (op >= 0xa0 && op <= 0xa3) return i.encoding == Encoding::kEvex;  // scatters
    return (op >= 0xf8 && op <= 0xf9);                                   // movdir64b, movdiri
  }
  return false;
}

bool is_push(const Instruction& i) {
  if (i.encoding != Encoding::kLegacy) return false;
  const uint8_t op = i.opcode;
  if (i.map == 1) return op == 0xa0 || op == 0xa8;
  if (i.map != 0) return false;
  return (op >= 0x50 && op <= 0x57) || op == 0x68 || op == 0x6a || op == 0x9c || op == 0xe8 ||
         (op == 0xff && (i.reg() == 6 || i.reg() == 2));
}
bool is_pop(const Instruction& i) {
  if (i.encoding != Encoding::kLegacy) return false;
  const uint8_t op = i.opcode;
  if (i.map == 1) return op == 0xa1 || op == 0xa9;
  return i.map == 0 && ((op >= 0x58 && op <= 0x5f) || op == 0x8f || op == 0x9d || op == 0xc2 ||
                        op == 0xc3 || op == 0xc9);
}

uint64_t segment_base(const Instruction& i, const Registers& r) {
  return i.segment == 0x64 ? r.fs_base : i.segment == 0x65 ? r.gs_base : 0;
}

// The address of a memory operand without a vector index.
uint64_t operand_address(const TraceStep& step, const Registers& r, int32_t disp8_scale) {
  const Instruction& i = step.instruction;
  uint64_t address = 0;
  int32_t displacement = 0;
  if (i.displacement_bytes == 1) {
    displacement = static_cast<int8_t>(step.bytes[i.displacement_offset]) * disp8_scale;
  } else if (i.displacement_bytes == 4) {
    std::memcpy(&displacement, step.bytes.data() + i.displacement_offset, 4);
  }
  if (i.rip_relative) {
    address = step.next_pc();
  } else if (i.rm() == 4) {
    const uint8_t sib = step.bytes[i.modrm_offset + 1];
    const unsigned index = ((sib >> 3) & 7) | (i.rex & 2) << 2;
    const unsigned base = (sib & 7) | (i.rex & 1) << 3;
    if (!((sib & 7) == 5 && i.mod() == 0)) address = r.*general_register(base);
    if (index != 4) address += r.*general_register(index) << (sib >> 6);
  } else {
    address = r.*general_register(i.rm() | (i.rex & 1) << 3);
  }
  address += static_cast<uint64_t>(int64_t{displacement});
  if (i.address_size_32) address &= 0xffffffff;
  return address + segment_base(i, r);
}

void string_accesses(const TraceStep& step, const Registers& r, std::vector<MemoryAccess>& out) {
  const Instruction& i = step.instruction;
  const uint64_t size = (i.opcode & 1) == 0 ? 1 : (i.rex & 8) ? 8 : i.operand_size_16 ? 2 : 4;
  const uint64_t mask = i.address_size_32 ? 0xffffffff : ~0ull;
  const uint64_t count = i.rep_string ? r.rcx & mask : 1;
  if (count == 0) return;
  const bool down = (r.rflags & 0x400) != 0;
  auto range = [&](uint64_t start) {
    start &= mask;
    return down ? AddressRange{{start - (count - 1) * size}, {start + size}}
                : range_of({start}, count * size);
  };
  if (string_reads_rsi(i.opcode)) {
    AddressRange source = range(r.rsi);
    source.begin = source.begin + segment_base(i, r);
    source.end = source.end + segment_base(i, r);
    out.push_back({source, true, false});
  }
  const bool reads = string_reads_rdi(i.opcode), writes = string_writes_rdi(i.opcode);
  if (reads || writes) out.push_back({range(r.rdi), reads, writes});
}

// How many bytes the explicit memory operand has, from Capstone. What that says of the direction is
// of no use: it takes cmpxchg, movups and many other stores for loads.
uint64_t operand_size(const TraceStep& step) {
  uint64_t size = kMostOfOperand;
  csh handle = 0;
  if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) return size;
  cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
  cs_insn* found = nullptr;
  if (cs_disasm(handle, step.bytes.data(), step.instruction.length, step.pc, 1, &found) == 1) {
    const cs_x86& x86 = found->detail->x86;
    for (unsigned n = 0; n < x86.op_count; ++n) {
      const cs_x86_op& operand = x86.operands[n];
      if (operand.type == X86_OP_MEM && operand.size != 0) size = operand.size;
    }
    cs_free(found, 1);
  }
  cs_close(&handle);
  return size;
}

// Instructions with a memory operand that only load it; some loads are not known as such.
bool only_loads(const Instruction& i) {
  if (i.encoding == Encoding::kLegacy && i.map == 0) return only_loads_one_byte(i);
  return i.map == 1 && only_loads_two_byte(i);
}

bool only_stores_one_byte(const Instruction& i) {
  switch (i.opcode) {
    case 0x88:
    case 0x89:
    case 0x8c:
    case 0xc6:
    case 0xc7:
      return true;
    case 0xd9:
      return i.reg() == 2 || i.reg() == 3 || i.reg() >= 6;  // fst, fstp, fnstenv, fnstcw
    case 0xdb:
      return (i.reg() >= 1 && i.reg() <= 3) || i.reg() == 7;  // fisttp, fist, fistp, fstp
    case 0xdd:
      return (i.reg() >= 1 && i.reg() <= 3) || i.reg() >= 6;  // and fnsave, fnstsw
    case 0xdf:
      return (i.reg() >= 1 && i.reg() <= 3) || i.reg() >= 6;  // and fbstp
    default:
      return false;
  }
}

bool only_stores_two_byte(const Instruction& i) {
  switch (i.opcode) {
    case 0x00:
      return i.reg() <= 1;  // sldt, str
    case 0x11:
    case 0x13:
    case 0x17:
    case 0x29:
    case 0x2b:
    case 0x7f:
    case 0xc3:
    case 0xd6:
    case 0xe7:
      return true;
    case 0x7e:
      return i.rep != 0xf3;
    case 0x91:  // kmov
      return true;
    default:
      return i.encoding == Encoding::kLegacy && i.opcode >= 0x90 && i.opcode <= 0x9f;  // setcc
  }
}

// Those with a memory operand that they store to and do not load.
bool only_stores(const Instruction& i) {
  if (i.map == 0) return i.encoding == Encoding::kLegacy && only_stores_one_byte(i);
  if (i.map == 1) return only_stores_two_byte(i);
  const bool evex = i.encoding == Encoding::kEvex;
  if (i.map == 2) {
    if (i.encoding == Encoding::kLegacy) return i.opcode == 0xf1 && i.rep != 0xf2;  // movbe
    if (!evex) return i.opcode == 0x2e || i.opcode == 0x2f || i.opcode == 0x8e;     // vmaskmov
    const uint8_t low = i.opcode & 0x0f, high = i.opcode >> 4;
    const bool narrows = i.rep == 0xf3 && high >= 1 && high <= 3 && low <= 5;    // vpmov
    return narrows || i.opcode == 0x63 || i.opcode == 0x8a || i.opcode == 0x8b;  // vpcompress
  }
  if (i.map != 3) return false;
  switch (i.opcode) {  // extract, and vcvtps2ph
    case 0x14:
    case 0x15:
    case 0x16:
    case 0x17:
    case 0x19:
    case 0x1b:
    case 0x1d:
    case 0x39:
    case 0x3b:
      return true;
    default:
      return false;
  }
}

// Where the memory operand lies: all of its bytes, or more of them. An 8-bit displacement of EVEX
// counts in units that depend on the instruction (SDM vol. 2, 2.7.5): any of them is covered.
AddressRange operand_range(const TraceStep& step, const Registers& r, uint64_t size) {
  const Instruction& i = step.instruction;
  const uint64_t at = operand_address(step, r, 1);
  if (i.encoding != Encoding::kEvex || i.displacement_bytes != 1) return range_of({at}, size);
  const uint64_t most = operand_address(step, r, kMostOfOperand);
  return {{std::min(at, most)}, {std::max(at, most) + kMostOfOperand}};
}

}  // namespace

// Of those with one opcode byte, what is not loggable: x87, strings, and what changes other flags,
// segments or more memory.
bool is_special_one_byte(const Instruction& i) {
  constexpr uint8_t kFwait = 0x9b, kPopf = 0x9d, kEnter = 0xc8, kCld = 0xfc, kStd = 0xfd;
  constexpr uint8_t kMoveToSegment = 0x8e, kGroup11 = 0xc6;
  const uint8_t op = i.opcode;
  if ((op >= 0xd8 && op <= 0xdf) || is_string(op)) return true;
  if ((op & 0xfe) == kGroup11) return i.reg() != 0;  // XABORT, XBEGIN
  return op == kFwait || op == kPopf || op == kEnter || op == kCld || op == kStd ||
         op == kMoveToSegment;
}

// Of those with two opcode bytes, what is known to be loggable.
bool is_plain_two_byte(const Instruction& i) {
  const uint8_t op = i.opcode;
  if ((op >= 0x40 && op <= 0x4f) || (op >= 0x90 && op <= 0x9f) || (op >= 0xc8 && op <= 0xcf)) {
    return true;  // CMOVcc, SETcc, BSWAP
  }
  switch (op) {
    case 0x0d:  // prefetches and what does nothing
    case 0x18:
    case 0x1f:
    case 0xa3:  // bits
    case 0xa4:
    case 0xa5:
    case 0xab:
    case 0xac:
    case 0xad:
    case 0xb3:
    case 0xba:
    case 0xbb:
    case 0xbc:
    case 0xbd:
    case 0xaf:  // IMUL
    case 0xb0:  // CMPXCHG, XADD
    case 0xb1:
    case 0xc0:
    case 0xc1:
    case 0xb6:  // MOVZX, MOVSX
    case 0xb7:
    case 0xbe:
    case 0xbf:
    case 0xb8:  // POPCNT
      return true;
    case 0x1e:
      return i.pure;  // ENDBR
    default:
      return false;
  }
}

bool is_loggable(const Instruction& i) {
  switch (i.kind) {
    case InstructionClass::kOrdinary:
    case InstructionClass::kJump:
    case InstructionClass::kConditionalJump:
    case InstructionClass::kCounterJump:
    case InstructionClass::kCall:
    case InstructionClass::kIndirectJump:
    case InstructionClass::kIndirectCall:
    case InstructionClass::kReturn:
      break;
    default:
      return false;
  }
  if (store_kind(i) == StoreKind::kElsewhere) return false;
  if (i.kind != InstructionClass::kOrdinary) return true;
  if (i.encoding == Encoding::kVex) {  // BMI
    return (i.map == 2 && i.opcode >= 0xf2 && i.opcode <= 0xf7) || (i.map == 3 && i.opcode == 0xf0);
  }
  if (i.encoding != Encoding::kLegacy) return false;
  if (i.map == 0) return !is_special_one_byte(i);
  if (i.map == 1) return is_plain_two_byte(i);
  return i.map == 2 && (i.opcode == 0xf0 || i.opcode == 0xf1);  // CRC32, MOVBE
}

StoreKind store_kind(const Instruction& i) {
  if (i.kind == InstructionClass::kCall || i.kind == InstructionClass::kIndirectCall) {
    return StoreKind::kPush;
  }
  if (i.kind != InstructionClass::kOrdinary) return StoreKind::kNone;
  if (is_push(i)) return StoreKind::kPush;
  if (stores_elsewhere(i)) return StoreKind::kElsewhere;
  if (!i.has_memory_operand()) return StoreKind::kNone;
  if (only_loads(i)) return StoreKind::kNone;
  // lea, and so the filter, knows nothing of segments, nor of scaled displacements.
  if (i.segment != 0) return StoreKind::kElsewhere;
  if (i.encoding == Encoding::kEvex && i.displacement_bytes == 1 && displacement_scale(i) == 0) {
    return StoreKind::kElsewhere;
  }
  return StoreKind::kOperand;
}

int displacement_scale(const Instruction& i) {
  if (i.encoding != Encoding::kEvex) return 1;
  const bool whole_vector = i.map == 1 && (i.opcode == 0x7f || i.opcode == 0x29 ||
                                           i.opcode == 0xe7 || (i.opcode == 0x11 && (i.rep == 0)));
  return whole_vector ? 16 << i.vector_length : 0;
}

AccessPlace access_place(const Instruction& i) {
  const bool legacy = i.encoding == Encoding::kLegacy;
  const bool leave = legacy && i.map == 0 && i.opcode == 0xc9;
  const bool stack = is_push(i) || is_pop(i);
  if (stack && !leave && !i.has_memory_operand()) return AccessPlace::kStack;
  if (stack || stores_elsewhere(i) || i.segment != 0 || !i.has_memory_operand()) {
    return AccessPlace::kElsewhere;
  }
  if (legacy && i.map == 1 && i.opcode == 0xa3) return AccessPlace::kElsewhere;
  if (i.map == 2 && !legacy && i.opcode >= 0x90 && i.opcode <= 0x93) return AccessPlace::kElsewhere;
  if (i.encoding == Encoding::kEvex && i.displacement_bytes == 1 && displacement_scale(i) == 0) {
    return AccessPlace::kElsewhere;
  }
  return AccessPlace::kOperand;
}

bool touches_memory(const Instruction& i) {
  if (is_push(i) || is_pop(i) || stores_elsewhere(i)) return true;
  if (i.encoding == Encoding::kLegacy && i.map == 0) {
    if (is_string(i.opcode) || (i.opcode >= 0xa0 && i.opcode <= 0xa3) || i.opcode == 0xd7) {
      return true;
    }
    if (i.opcode == 0x8d) return false;
  }
  return i.has_memory_operand() && !i.pure;
}

std::optional<std::vector<MemoryAccess>> memory_accesses(const TraceStep& step,
                                                         const Registers& r) {
  const Instruction& i = step.instruction;
  std::vector<MemoryAccess> result;
  const bool legacy = i.encoding == Encoding::kLegacy;
  if (legacy && i.map == 0 && is_string(i.opcode)) {
    string_accesses(step, r, result);
    return result;
  }
  const uint64_t word = i.operand_size_16 && (i.rex & 8) == 0 ? 2 : 8;
  if (i.kind == InstructionClass::kFarReturn) {
    result.push_back({range_of({r.rsp}, far_return_word(i) * far_return_words(i)), true, false});
    return result;
  }
  if (is_push(i)) result.push_back({range_of({r.rsp - word}, word), false, true});
  if (is_pop(i)) {
    const uint64_t from = legacy && i.map == 0 && i.opcode == 0xc9 ? r.rbp : r.rsp;
    result.push_back({range_of({from}, word), true, false});
  }
  if (legacy && i.map == 0 && i.opcode >= 0xa0 && i.opcode <= 0xa3) {
    const uint64_t size = (i.opcode & 1) == 0 ? 1 : (i.rex & 8) ? 8 : i.operand_size_16 ? 2 : 4;
    const uint64_t at = static_cast<uint64_t>(i.immediate) + segment_base(i, r);
    result.push_back({range_of({at}, size), i.opcode < 0xa2, i.opcode >= 0xa2});
    return result;
  }
  if (legacy && i.map == 0 && i.opcode == 0xd7) {
    const uint64_t at = r.rbx + (r.rax & 0xff) + segment_base(i, r);
    result.push_back({range_of({at}, 1), true, false});
    return result;
  }
  if (legacy && i.map == 0 && i.opcode == 0x8f && i.has_memory_operand()) {
    Registers popped = r;
    popped.rsp += word;
    result.push_back({range_of({operand_address(step, popped, 1)}, word), false, true});
    return result;
  }
  if (!touches_memory(i) || (!i.has_memory_operand() && !stores_elsewhere(i))) return result;
  const bool gathers = i.map == 2 && i.opcode >= 0x90 && i.opcode <= 0x93 && !legacy;
  const bool bit_string = legacy && i.map == 1 && i.opcode == 0xa3;
  if (stores_elsewhere(i) || gathers || bit_string) return std::nullopt;
  result.push_back({operand_range(step, r, operand_size(step)), !only_stores(i), !only_loads(i)});
  return result;
}

std::optional<std::vector<AddressRange>> possible_stores(const TraceStep& step,
                                                         const Registers& r) {
  const Instruction& i = step.instruction;
  const auto accesses = memory_accesses(step, r);
  if (!accesses) return std::nullopt;
  std::vector<AddressRange> stores;
  for (const MemoryAccess& access : *accesses) {
    if (!access.writes) continue;
    // Of strings the size is known, of others only what it is at most.
    const bool is_string_store =
        i.encoding == Encoding::kLegacy && i.map == 0 && is_string(i.opcode);
    const uint64_t size = is_string_store ? access.range.size() : kMostOfOperand;
    stores.push_back({access.range.begin, std::max(access.range.end, access.range.begin + size)});
  }
  return stores;
}

}  // namespace rchk::translate
