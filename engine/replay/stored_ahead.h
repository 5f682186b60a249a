#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/registers.h"
#include "base/types.h"

namespace rchk::replay {

// What a string instruction has still to store, told from the registers in its midst.
//
// An interrupt may find more stored than the registers say: processors with fast string operations
// (seen with REP MOVSB on Intel's of 2023, 64 bytes) are ahead of them by as much as one store, and
// store the same once more when the instruction goes on (SDM vol. 1, 7.3.9.3).
class StringStores {
 public:
  using Read = std::function<size_t(GuestAddress, std::span<uint8_t>)>;

  // Nothing if `code`, at pc, is no REP MOVS or REP STOS, or one with an unusual prefix.
  static std::optional<StringStores> of(std::span<const uint8_t> code, const Registers& registers);

  // All that it has still to store to.
  AddressRange range() const { return range_; }
  // What it will store from `address` on, inside of range(); returns how many bytes are known.
  size_t bytes(GuestAddress address, std::span<uint8_t> out, const Read& read) const;

 private:
  AddressRange range_;
  bool copies_ = false;
  GuestAddress to_;
  uint64_t distance_ = 0;  // from where it stores to where it reads, if it copies
  uint64_t value_ = 0;     // else what it stores
  uint64_t step_ = 1;
};

}  // namespace rchk::replay
