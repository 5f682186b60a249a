#include "snapshot/address_space.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace rchk::snapshot {
namespace {

// Moves where a mapping starts to `begin`, inside it: what its file backs moves along.
void cut_front(Mapping& mapping, GuestAddress begin) {
  if (mapping.backing) mapping.backing->offset_bytes += begin - mapping.range.begin;
  mapping.range.begin = begin;
}

void shift_to(Mapping& mapping, GuestAddress begin) {
  mapping.range = range_of(begin, mapping.range.size());
}

}  // namespace

void AddressSpace::split_at(GuestAddress address) {
  auto above = mappings_.upper_bound(address);
  if (above == mappings_.begin()) return;
  Mapping& lower = std::prev(above)->second;
  if (lower.range.begin == address || !lower.range.contains(address)) return;
  Mapping upper = lower;
  cut_front(upper, address);
  lower.range.end = address;
  if (upper.shared) ++shared_;
  mappings_.emplace_hint(above, address, std::move(upper));
}

void AddressSpace::map(Mapping mapping) {
  mapping.range = mapping.range.pages();
  if (mapping.range.empty()) return;
  unmap(mapping.range);
  const GuestAddress begin = mapping.range.begin;
  if (mapping.shared) ++shared_;
  mappings_.emplace(begin, std::move(mapping));
}

void AddressSpace::unmap(AddressRange range) {
  range = range.pages();
  if (range.empty()) return;
  split_at(range.begin);
  split_at(range.end);
  const auto end = mappings_.lower_bound(range.end);
  for (auto item = mappings_.lower_bound(range.begin); item != end;) {
    if (item->second.shared) --shared_;
    item = mappings_.erase(item);
  }
}

void AddressSpace::protect(AddressRange range, uint8_t protection) {
  range = range.pages();
  if (range.empty()) return;
  split_at(range.begin);
  split_at(range.end);
  const auto end = mappings_.lower_bound(range.end);
  for (auto item = mappings_.lower_bound(range.begin); item != end; ++item) {
    item->second.protection = protection;
  }
}

void AddressSpace::remap(AddressRange from, GuestAddress to, uint64_t new_size) {
  from = from.pages();
  new_size = GuestAddress{new_size}.page_ceiling().value;
  std::vector<Mapping> moved;
  if (from.empty()) {
    // A size of 0 makes a second mapping of the same pages, and the first stays (mremap(2)).
    const Mapping* origin = find(from.begin);
    if (origin == nullptr || new_size == 0) return;
    moved.push_back(*origin);
    cut_front(moved.back(), from.begin);
    moved.back().range.end = from.begin + new_size;
  } else {
    moved = overlapping(from);
    unmap(from);
    if (!moved.empty()) {
      if (moved.front().range.begin < from.begin) cut_front(moved.front(), from.begin);
      GuestAddress& end = moved.back().range.end;
      if (end >= from.end) end = from.begin + std::max(new_size, from.size());
    }
  }
  unmap(range_of(to, new_size));
  for (Mapping& mapping : moved) {
    const uint64_t distance = mapping.range.begin - from.begin;
    if (distance >= new_size) break;
    mapping.range.end = std::min(mapping.range.end, from.begin + new_size);
    shift_to(mapping, to + distance);
    map(std::move(mapping));
  }
}

const Mapping* AddressSpace::find(GuestAddress address) const {
  const auto above = mappings_.upper_bound(address);
  if (above == mappings_.begin()) return nullptr;
  const Mapping& candidate = std::prev(above)->second;
  return candidate.range.contains(address) ? &candidate : nullptr;
}

std::vector<Mapping> AddressSpace::overlapping(AddressRange range) const {
  std::vector<Mapping> found;
  if (range.empty()) return found;
  auto item = mappings_.upper_bound(range.begin);
  if (item != mappings_.begin()) --item;
  for (; item != mappings_.end() && item->first < range.end; ++item) {
    if (item->second.range.overlaps(range)) found.push_back(item->second);
  }
  return found;
}

}  // namespace rchk::snapshot
