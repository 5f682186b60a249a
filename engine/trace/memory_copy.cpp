#include "engine/trace/memory_copy.h"

#include <algorithm>
#include <cstring>

#include <sys/mman.h>

namespace rchk::trace {

MemoryCopy::~MemoryCopy() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

// The next time there may be somewhat more.
bool MemoryCopy::make_room(uint64_t size_bytes) {
  if (size_bytes <= memory_.size()) return true;
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
  memory_ = {};
  const uint64_t size = GuestAddress{size_bytes + size_bytes / 4}.page_ceiling().value;
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  // Small pages cost more to get than to fill.
  madvise(memory, size, MADV_HUGEPAGE);
  memory_ = {static_cast<uint8_t*>(memory), size};
  return true;
}

bool MemoryCopy::take(const MemoryHolder& holder, const snapshot::RangeSet& ranges) {
  parts_.clear();
  if (!make_room(snapshot::total_pages(ranges) * kPageSize)) return false;
  std::span<uint8_t> room = memory_;
  for (const AddressRange& range : ranges) {
    for (GuestAddress at = range.begin; at < range.end;) {
      const size_t got = holder.read(at, room.first(range.end - at)) / kPageSize * kPageSize;
      if (got != 0) parts_.push_back({range_of(at, got), room.data()});
      room = room.subspan(got);
      at = at + std::max<uint64_t>(got, kPageSize);
    }
  }
  return true;
}

size_t MemoryCopy::read(GuestAddress address, std::span<uint8_t> bytes) const {
  const auto part = std::upper_bound(
      parts_.begin(), parts_.end(), address,
      [](GuestAddress value, const Part& known) { return value < known.range.end; });
  if (part == parts_.end() || !part->range.contains(address)) return 0;
  const size_t count = std::min<size_t>(bytes.size(), part->range.end - address);
  std::memcpy(bytes.data(), part->bytes + (address - part->range.begin), count);
  return count;
}

}  // namespace rchk::trace
