#include "engine/translate/x87.h"

#include <cstring>

namespace rchk::translate {

namespace {

bool is_x87(const Instruction& i) {
  return i.encoding == Encoding::kLegacy && i.map == 0 && i.opcode >= 0xd8 && i.opcode <= 0xdf;
}

// SDM vol. 1, 8.1.8 lists them.
bool is_control(const Instruction& i) {
  if (i.has_memory_operand()) {
    if (i.opcode == 0xd9) return i.reg() >= 4;  // FLDENV, FLDCW, FNSTENV, FNSTCW
    // FRSTOR, FNSAVE, FNSTSW
    return i.opcode == 0xdd && (i.reg() == 4 || i.reg() >= 6);
  }
  if (i.opcode == 0xdb) return i.reg() == 4;   // FNCLEX, FNINIT, and no-operations
  return i.opcode == 0xdf && i.modrm == 0xe0;  // FNSTSW AX
}

}  // namespace

bool sets_x87_pointer(const Instruction& instruction) {
  return is_x87(instruction) && !is_control(instruction);
}

bool needs_x87_pointer(const Instruction& instruction) {
  const Instruction& i = instruction;
  if (is_x87(i)) {
    if (!i.has_memory_operand()) return i.opcode == 0xdb && i.modrm == 0xe3;  // FNINIT
    if (i.opcode == 0xd9) return i.reg() == 4 || i.reg() == 6;
    return i.opcode == 0xdd && (i.reg() == 4 || i.reg() == 6);
  }
  if (i.encoding != Encoding::kLegacy || i.map != 1 || !i.has_memory_operand()) return false;
  // FXSAVE, FXRSTOR, XSAVE, XRSTOR, XSAVEOPT (with 66, CLWB: no harm)
  if (i.opcode == 0xae) return i.reg() < 2 || (i.reg() >= 4 && i.reg() <= 6);
  return i.opcode == 0xc7 && i.reg() >= 3 && i.reg() <= 5;  // XRSTORS, XSAVEC, XSAVES
}

bool processor_loses_x87_pointers() {
  static const bool loses = [] {
    struct alignas(64) Area {
      uint8_t bytes[512];
    } area;
    std::memset(&area, 0xff, sizeof area);
    __asm__ volatile("fld1\n fstp %%st(0)\n fxsave64 %0" : "+m"(area));
    uint64_t instruction_pointer = 0;
    std::memcpy(&instruction_pointer, area.bytes + 8, sizeof instruction_pointer);
    return instruction_pointer == 0;
  }();
  return loses;
}

X87Access x87_access(const Instruction& instruction) {
  const Instruction& i = instruction;
  if (sets_x87_pointer(i)) return X87Access::kSets;
  if (i.operand_size_16 || !needs_x87_pointer(i)) return X87Access::kNone;
  if (i.opcode == 0xd9) return i.reg() == 4 ? X87Access::kLoads : X87Access::kStores;
  if (i.opcode == 0xdd) return i.reg() == 4 ? X87Access::kLoads : X87Access::kSaves;
  if (i.opcode == 0xdb) return X87Access::kClears;
  return i.map == 1 && i.opcode == 0xae && i.reg() == 1 ? X87Access::kClears : X87Access::kNone;
}

uint32_t x87_opcode_and_code_segment(const Instruction& instruction) {
  constexpr uint32_t kUserCode = 0x33;
  return kUserCode | (instruction.opcode & 7u) << 24 | uint32_t{instruction.modrm} << 16;
}

uint32_t x87_data_segment(const Instruction& instruction, uint8_t sib) {
  constexpr uint32_t kReserved = 0xffff0000, kUserStack = 0x2b;
  constexpr uint8_t kRsp = 4, kRbp = 5;
  if (instruction.segment != 0 || instruction.rip_relative || (instruction.rex & 1) != 0) {
    return kReserved;
  }
  const bool has_sib = instruction.rm() == kRsp;
  const uint8_t base = has_sib ? sib & 7 : instruction.rm();
  const bool on_stack = base == kRsp || (base == kRbp && instruction.mod() != 0);
  return kReserved | (on_stack ? kUserStack : 0);
}

}  // namespace rchk::translate
