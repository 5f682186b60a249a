#pragma once

#include "engine/translate/block.h"
#include "engine/translate/emitter.h"

namespace rchk::translate {

// The code in front of a block that indirect jumps come to: verifies that StatePage::target is the
// block's pc, and gives the guest its rcx back. Falls through when it is, so that the way in has
// no taken branch: `loop` decrements rcx and jumps unless it is 0 then, and leaves flags alone.
//
//   mov rcx, [target]                 mov ecx, [target]
//   lea rcx, [rcx + 1 - pc]           lea ecx, [rcx + 1 - low]
//   loop mismatch                     loop mismatch (ecx)
//   mov rcx, [rcx]                    mov ecx, [target + 4]
//                                     lea ecx, [rcx + 1 - high]
//                                     loop mismatch (ecx)
//                                     mov rcx, [rcx]
//   for a pc below 2 GiB              for any
//
// The mismatch jump stands in front of it: `mismatch` is where landings of a bucket are chained.
inline void emit_landing(Emitter& out, Block& block, uint64_t mismatch_target) {
  const auto low = static_cast<uint32_t>(block.key.pc);
  const auto high = static_cast<uint32_t>(block.key.pc >> 32);
  const uint64_t mismatch = out.here();
  block.landing_mismatch = out.jump(mismatch_target);
  block.landing = out.here();
  if (block.key.pc < 1ull << 31) {
    out.load(kRcx, offsetof(StatePage, target));
    out.bytes(0x48, 0x8d, 0x89);
    out.dword(1 - low);
    out.bytes(0xe2, mismatch - (out.here() + 2));
  } else {
    out.load32(kRcx, offsetof(StatePage, target));
    out.bytes(0x8d, 0x89);
    out.dword(1 - low);
    out.bytes(0x67, 0xe2, mismatch - (out.here() + 3));
    out.load32(kRcx, offsetof(StatePage, target) + 4);
    out.bytes(0x8d, 0x89);
    out.dword(1 - high);
    out.bytes(0x67, 0xe2, mismatch - (out.here() + 3));
  }
  out.load(kRcx, offsetof(StatePage, rcx));
}

}  // namespace rchk::translate
