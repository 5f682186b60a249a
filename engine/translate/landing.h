#pragma once

#include "engine/translate/block.h"
#include "engine/translate/emitter.h"

namespace rchk::translate {

// The code in front of a block that indirect jumps come to: verifies that StatePage::target is the
// block's pc, and gives the guest its rcx back. Flags stay as they are. What is left of the target
// when the pc was taken away is compared with 0 by `jrcxz`, or, where `loop` is one operation as on
// AMD's processors, with 1 by that: it decrements rcx and jumps unless it is 0 then, so that the
// way in has no taken branch. Intel's take seven operations for it, and lua's replay twice
// as long.
//
//   mov rcx, [target]             mov rcx, [target]
//   lea rcx, [rcx - pc]           lea rcx, [rcx - low]      leaves high << 32
//   jrcxz match                   rorx rcx, rcx, 32
//   jmp mismatch                  lea rcx, [rcx - high]
//   match: mov rcx, [rcx]         jrcxz match ...
//   for a pc below 2 GiB          for any; without BMI2 as two halves
//
// The mismatch jump stands in front of it: `mismatch` is where landings of a bucket are chained.
class Landing {
 public:
  Landing(Emitter& out, Block& block, uint64_t mismatch_target) : out_(out) {
    mismatch_ = out.here();
    block.landing_mismatch = out.jump(mismatch_target);
    block.landing = out.here();
    const uint64_t pc = block.key.pc;
    const auto low = static_cast<int32_t>(pc);
    if (pc < 1ull << 31) {
      out.load(kRcx, offsetof(StatePage, target));
      subtract(pc, true, true);
      leave_unless_zero(true);
    } else if (has_bmi2()) {
      out.load(kRcx, offsetof(StatePage, target));
      subtract(static_cast<uint32_t>(low), true, false);
      out.bytes(0xc4, 0xe3, 0xfb, 0xf0, 0xc9, 32);  // rorx rcx, rcx, 32
      subtract((pc - static_cast<uint64_t>(int64_t{low})) >> 32, true, true);
      leave_unless_zero(true);
    } else {
      out.load32(kRcx, offsetof(StatePage, target));
      subtract(pc, false, true);
      leave_unless_zero(false);
      out.load32(kRcx, offsetof(StatePage, target) + 4);
      subtract(pc >> 32, false, true);
      leave_unless_zero(false);
    }
    out.load(kRcx, offsetof(StatePage, rcx));
  }

 private:
  static bool has_bmi2() { return __builtin_cpu_supports("bmi2") != 0; }
  static bool loop_is_fast() {
    static const bool fast = __builtin_cpu_is("amd") != 0;
    return fast;
  }

  // lea rcx, [rcx - value]: of the low 32 bits of `value`, sign-extended if `wide`.
  void subtract(uint64_t value, bool wide, bool last) {
    if (wide) out_.byte(0x48);
    out_.bytes(0x8d, 0x89);
    out_.dword(static_cast<uint32_t>(last && loop_is_fast() ? 1 - value : 0 - value));
  }
  void leave_unless_zero(bool wide) {
    if (!wide) out_.byte(0x67);
    if (loop_is_fast()) {
      out_.bytes(0xe2, mismatch_ - (out_.here() + 2));
      return;
    }
    out_.bytes(0xe3, 2);
    out_.bytes(0xeb, mismatch_ - (out_.here() + 2));
  }

  Emitter& out_;
  uint64_t mismatch_;
};

inline void emit_landing(Emitter& out, Block& block, uint64_t mismatch_target) {
  Landing(out, block, mismatch_target);
}

}  // namespace rchk::translate
