#pragma once

#include <span>
#include <vector>

#include "base/types.h"
#include "engine/trace/snapshot.h"
#include "snapshot/range_set.h"

namespace rchk::trace {

// What a holder had when it was asked, in memory of this process, which is kept for the next time.
class MemoryCopy final : public MemoryHolder {
 public:
  MemoryCopy() = default;
  ~MemoryCopy() override;
  MemoryCopy(const MemoryCopy&) = delete;
  MemoryCopy& operator=(const MemoryCopy&) = delete;

  // Takes whole pages of `ranges`, without those that cannot be read, instead of what it had.
  // False where there is no memory for it.
  bool take(const MemoryHolder& holder, const snapshot::RangeSet& ranges);
  size_t read(GuestAddress address, std::span<uint8_t> bytes) const override;

 private:
  struct Part {
    AddressRange range;
    const uint8_t* bytes;
  };

  bool make_room(uint64_t size_bytes);

  std::span<uint8_t> memory_;
  std::vector<Part> parts_;  // in order of address
};

}  // namespace rchk::trace
