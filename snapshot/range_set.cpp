#include "snapshot/range_set.h"

#include <algorithm>

namespace rchk::snapshot {

void append_in_order(RangeSet& set, AddressRange range) {
  if (range.empty()) return;
  if (!set.empty() && set.back().end >= range.begin) {
    set.back().end = std::max(set.back().end, range.end);
  } else {
    set.push_back(range);
  }
}

RangeSet normalized(RangeSet ranges) {
  std::sort(ranges.begin(), ranges.end());
  RangeSet set;
  for (const AddressRange& range : ranges) append_in_order(set, range);
  return set;
}

RangeSet intersection(const RangeSet& a, const RangeSet& b) {
  RangeSet both;
  auto left = a.begin();
  auto right = b.begin();
  while (left != a.end() && right != b.end()) {
    append_in_order(both, {std::max(left->begin, right->begin), std::min(left->end, right->end)});
    if (left->end < right->end) {
      ++left;
    } else {
      ++right;
    }
  }
  return both;
}

RangeSet part_within(const RangeSet& set, AddressRange range) {
  RangeSet part;
  auto item = std::upper_bound(
      set.begin(), set.end(), range.begin,
      [](GuestAddress value, const AddressRange& other) { return value < other.end; });
  for (; item != set.end() && item->begin < range.end; ++item) {
    append_in_order(part, {std::max(item->begin, range.begin), std::min(item->end, range.end)});
  }
  return part;
}

RangeSet difference(const RangeSet& a, const RangeSet& b) {
  RangeSet rest;
  auto hole = b.begin();
  for (AddressRange left : a) {
    while (hole != b.end() && hole->end <= left.begin) ++hole;
    for (auto cut = hole; cut != b.end() && cut->begin < left.end; ++cut) {
      append_in_order(rest, {left.begin, std::min(cut->begin, left.end)});
      left.begin = std::max(left.begin, cut->end);
    }
    append_in_order(rest, left);
  }
  return rest;
}

bool contains(const RangeSet& set, GuestAddress address) {
  const auto after = std::upper_bound(
      set.begin(), set.end(), address,
      [](GuestAddress wanted, const AddressRange& range) { return wanted < range.begin; });
  return after != set.begin() && std::prev(after)->contains(address);
}

uint64_t total_bytes(const RangeSet& set) {
  uint64_t bytes = 0;
  for (const AddressRange& range : set) bytes += range.size();
  return bytes;
}

}  // namespace rchk::snapshot
