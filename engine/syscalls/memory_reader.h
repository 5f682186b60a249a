#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"

namespace rchk::syscalls {

// Reads a guest's memory. Who implements it knows how (a live tracee, a puppet, a test's array).
class MemoryReader {
 public:
  virtual ~MemoryReader() = default;
  // Fills `out` from `address` on and returns how many bytes could be read: fewer than asked
  // for where memory ends or is not readable, 0 where nothing is.
  virtual size_t read(GuestAddress address, std::span<uint8_t> out) const = 0;
};

}  // namespace rchk::syscalls
