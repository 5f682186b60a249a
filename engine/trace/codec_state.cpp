#include "engine/trace/codec.h"

namespace rchk::trace {
namespace {

// The pc of user code has its high bits clear (SDM vol. 1, 3.3.7.1), so the kind fits there.
uint64_t key_of(uint8_t kind, uint64_t pc) { return pc ^ (uint64_t{kind} << 56); }

// Bounds the memory that a hostile batch can make a reader spend on guesses.
constexpr size_t kMostRemembered = 4096;

}  // namespace

Registers CodingState::guess(uint8_t kind, uint64_t pc) const {
  const auto found = by_pc_.find(key_of(kind, pc));
  Registers registers = found == by_pc_.end() ? last_ : found->second;
  registers.rip = pc;
  return registers;
}

void CodingState::remember(uint8_t kind, const Registers& before, const Registers& after) {
  last_ = after;
  if (by_pc_.size() < kMostRemembered) {
    by_pc_.insert_or_assign(key_of(kind, before.rip), before);
  } else if (const auto found = by_pc_.find(key_of(kind, before.rip)); found != by_pc_.end()) {
    found->second = before;
  }
}

}  // namespace rchk::trace
