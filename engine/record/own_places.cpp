#include "engine/record/own_places.h"

#include <algorithm>
#include <vector>

namespace rchk::record {

namespace {

// What a program can map: from vm.mmap_min_addr as it is by default to the end of the lower half,
// whose last page the kernel keeps.
constexpr AddressRange kMappable{{0x10000}, {(1ull << 47) - kPageSize}};

std::vector<AddressRange> holes_in(const snapshot::AddressSpace& memory,
                                   const snapshot::RangeSet& own, AddressRange within) {
  std::vector<AddressRange> holes;
  GuestAddress free = within.begin;
  const auto add = [&](GuestAddress end) {
    if (free < end) holes.push_back({free, end});
  };
  for (const auto& [begin, mapping] : memory.mappings()) {
    const bool is_own = std::any_of(own.begin(), own.end(), [&](const AddressRange& range) {
      return range.contains(mapping.range);
    });
    if (is_own) continue;
    add(std::min(begin, within.end));
    free = std::max(free, mapping.range.end);
  }
  add(within.end);
  return holes;
}

std::optional<AddressRange> largest_of(const std::vector<AddressRange>& holes) {
  const auto largest = std::max_element(
      holes.begin(), holes.end(),
      [](const AddressRange& a, const AddressRange& b) { return a.size() < b.size(); });
  if (largest == holes.end()) return std::nullopt;
  return *largest;
}

GuestAddress at_part(AddressRange hole, uint64_t divisor) {
  return (hole.begin + hole.size() / divisor).page_floor();
}

}  // namespace

std::optional<GuestAddress> remote_place(const snapshot::AddressSpace& memory,
                                         const snapshot::RangeSet& own, uint64_t bytes) {
  const auto hole = largest_of(holes_in(memory, own, kMappable));
  if (!hole) return std::nullopt;
  GuestAddress end = at_part(*hole, 2);
  for (const AddressRange& range : own) {
    if (hole->contains(range)) end = std::min(end, range.begin);
  }
  if (end.value - hole->begin.value < bytes) return std::nullopt;
  return GuestAddress{end.value - bytes}.page_floor();
}

std::optional<GuestAddress> place_within_reach(const snapshot::AddressSpace& memory,
                                               GuestAddress code, uint64_t bytes,
                                               GuestAddress heap_end) {
  // Of 2 GiB; the rest is for the distance of what jumps from what it jumps to.
  constexpr uint64_t kReach = (2ull << 30) - (64 << 20);
  constexpr uint64_t kMuch = 64 << 20;
  // Not in the middle: the stack may grow into the hole above.
  constexpr uint64_t kPart = 16;
  const AddressRange reach{
      {std::max(kMappable.begin.value, code.value - std::min(code.value, kReach))},
      {std::min(kMappable.end.value, code.value + kReach)}};
  const auto holes = holes_in(memory, {}, reach);
  if (reach.contains(heap_end)) {
    for (const AddressRange& hole : holes) {
      if (hole.end > code) break;
      if (hole.size() >= kPart * bytes) return at_part(hole, 2);
    }
    return std::nullopt;  // rather than in the way of the heap
  }
  for (auto hole = holes.rbegin(); hole != holes.rend() && hole->begin > code; ++hole) {
    if (hole->size() >= std::max(kMuch, kPart * bytes)) return at_part(*hole, kPart);
  }
  const auto hole = largest_of(holes);
  if (!hole || hole->size() < bytes) return std::nullopt;
  const GuestAddress middle = at_part(*hole, 2);
  return std::min(middle, GuestAddress{hole->end.value - bytes}.page_floor());
}

}  // namespace rchk::record
