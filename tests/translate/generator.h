#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "base/registers.h"

namespace rchk::translate::testing {

// Where random programs live.
inline constexpr uint64_t kCode = 0x555555554000ull;
inline constexpr uint64_t kCodeBytes = 0x10000;
inline constexpr uint64_t kData = kCode + 0x1000000;  // rip-relative operands reach it
inline constexpr uint64_t kDataBytes = 0x10000;
inline constexpr uint64_t kStack = 0x7fff30000000ull;
inline constexpr uint64_t kStackBytes = 0x10000;

struct RandomProgram {
  std::vector<uint8_t> code;
  Registers start;
  std::vector<uint64_t> instruction_starts;  // where breakpoints may go
};

struct GeneratorOptions {
  bool vectors = true;
  bool faults = false;  // now and then an address that is not mapped, a division by zero
  bool self_modifying = false;
};

// A random program: functions, loops, calls, indirect jumps. Ends at a `syscall` instruction.
RandomProgram generate(uint64_t seed, const GeneratorOptions& options);

}  // namespace rchk::translate::testing
