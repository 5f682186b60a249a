#include "engine/translate/access.h"
#include "engine/translate/translator.h"

// Logging: a shared routine notes the guest's registers in front of each instruction, and what its
// store will overwrite. So a stretch of single instructions, with the state at each of them, costs
// no stops (Engine::run_logged()).
namespace rchk::translate {

#define SLOT(name) offsetof(StatePage, name)

// REQUIRES: is_loggable().
void Translator::emit_log(const TraceStep& step) {
  const StoreKind kind = store_kind(step.instruction);
  if (kind == StoreKind::kOperand && step.instruction.uses_r11) take_r11_in();
  out_.store(SLOT(rcx), kRcx);
  if (kind == StoreKind::kPush) {
    out_.bytes(0x48, 0x8d, 0x4c, 0x24, 0xf8);  // lea rcx, [rsp - 8]
  } else if (kind == StoreKind::kOperand) {
    emit_operand_address(step);
  } else {
    out_.byte(0xb9);  // mov ecx, 0
    out_.dword(0);
  }
  take_r11_out();
  out_.store_imm32(SLOT(log_site), add_site(ExitKind::kLogged, step.pc, index_ - added_));
  out_.store(SLOT(rax), kRax);
  out_.bytes(0x48, 0x8d, 0x05);  // lea rax, [rip + behind]
  uint8_t* behind = out_.pointer();
  out_.dword(0);
  out_.store(SLOT(return_to), kRax);
  out_.jump(arena_.log_step);
  out_.bind(behind);  // counts from behind the distance itself, as lea does
}

}  // namespace rchk::translate
