#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/translate/decode.h"

// The x87 unit keeps the address of its last instruction (FIP; SDM vol. 1, 8.1.8), and some
// instructions store it. In translated code that address is one of the cache, so emitted code says
// behind which guest instruction the unit is (StatePage::x87_place), and whoever stores FIP, or
// looks at it, has it put right first.
namespace rchk::translate {

// Whether it leaves its own address in FIP: all but the control instructions.
bool sets_x87_pointer(const Instruction& instruction);
// Whether it stores FIP or loads another one: FNSTENV, FNSAVE, FXSAVE, XSAVE, and their like.
bool needs_x87_pointer(const Instruction& instruction);

// Whether the processor keeps FIP and its fellows (FOP, FCS, FDP, FDS) to itself: FXSAVE and XSAVE
// store zeros, so that all are zero behind each context switch (AMD's, without a pending
// exception). Found by trying.
bool processor_loses_x87_pointers();

// What of them an instruction does there, in translated code that keeps them itself.
enum class X87Access : uint8_t {
  kNone,
  kSets,    // as an instruction of the unit's
  kStores,  // FNSTENV
  kSaves,   // FNSAVE: stores, and clears
  kLoads,   // FLDENV, FRSTOR
  kClears,  // FNINIT, FXRSTOR
};
X87Access x87_access(const Instruction& instruction);
// FOP and FCS, and FDS, as FNSTENV stores them behind an instruction that sets them.
uint32_t x87_opcode_and_code_segment(const Instruction& instruction);
uint32_t x87_data_segment(const Instruction& instruction, uint8_t sib);

// Numbers for guest addresses, for emitted code to store in one instruction. They stay valid.
class X87Places {
 public:
  // What StatePage::x87_place holds besides numbers of places.
  static constexpr uint32_t kInHardware = 0;  // FIP is right
  static constexpr uint32_t kUnchanged = 1;   // no instruction since the cache was entered

  uint32_t number_of(uint64_t pc) {
    const auto [found, added] =
        numbers_.try_emplace(pc, static_cast<uint32_t>(places_.size() + kUnchanged + 1));
    if (added) places_.push_back(pc);
    return found->second;
  }
  // REQUIRES: it came from number_of().
  uint64_t place(uint32_t number) const { return places_[number - kUnchanged - 1]; }

 private:
  std::unordered_map<uint64_t, uint32_t> numbers_;
  std::vector<uint64_t> places_;
};

}  // namespace rchk::translate
