#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/registers.h"
#include "base/types.h"
#include "engine/translate/trace.h"

namespace rchk::translate {

// How stores of an instruction are found while watchpoints are set.
enum class StoreKind : uint8_t {
  kNone,       // writes no memory
  kOperand,    // at most 64 bytes from the address of its memory operand on
  kPush,       // eight bytes or less below rsp
  kElsewhere,  // anything: what is watched is compared after it
};
StoreKind store_kind(const Instruction& instruction);
// What an 8-bit displacement of it counts in (EVEX, SDM vol. 2, 2.7.5); 0 if not known.
int displacement_scale(const Instruction& instruction);
// Whether it changes nothing but general registers, the flags of arithmetic, pc and at most eight
// bytes of memory, at the place that store_kind() tells.
bool is_loggable(const Instruction& instruction);
// Whether it touches memory at all, other than by being fetched.
bool touches_memory(const Instruction& instruction);

// Where all of an instruction's accesses lie.
enum class AccessPlace : uint8_t {
  kOperand,  // within 64 bytes from the address of its memory operand on
  kStack,    // within 64 bytes from rsp - 8 on
  kElsewhere,
};
AccessPlace access_place(const Instruction& instruction);

struct MemoryAccess {
  AddressRange range;
  bool reads = false;
  bool writes = false;
};
// What the instruction accesses when it is run with `registers`: at least that. Nothing when that
// cannot be told. Slow: disassembles with Capstone where sizes matter.
std::optional<std::vector<MemoryAccess>> memory_accesses(const TraceStep& step,
                                                         const Registers& registers);

// Where it may store when it is run with `registers`, and more. Nothing when that cannot be told.
std::optional<std::vector<AddressRange>> possible_stores(const TraceStep& step,
                                                         const Registers& registers);

}  // namespace rchk::translate
