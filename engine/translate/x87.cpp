#include "engine/translate/x87.h"

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

}  // namespace rchk::translate
