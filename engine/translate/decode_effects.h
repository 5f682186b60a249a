#pragma once

#include "engine/translate/decode.h"

namespace rchk::translate {

// Fill in class, flags, purity and use of r11 once the encoding is known.
void describe_legacy_effects(Instruction& out);
// `vvvv` is the register of VEX.vvvv or EVEX.vvvv (without V').
void describe_vector_effects(Instruction& out, uint8_t vvvv);

// Called once ModRM is known and names memory; `sib` is 0 when there is none.
void note_memory_r11(Instruction& out, uint8_t sib);

}  // namespace rchk::translate
