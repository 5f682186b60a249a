#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"

namespace rchk::snapshot {

// A set of addresses as sorted, disjoint, non-touching, non-empty ranges.
using RangeSet = std::vector<AddressRange>;

// Sorts, drops empty ranges and joins those that overlap or touch.
RangeSet normalized(RangeSet ranges);

// Adds `range`; when ranges come in order of address the set stays normalized.
void append_in_order(RangeSet& set, AddressRange range);

// All addresses in both. REQUIRES: both are normalized.
RangeSet intersection(const RangeSet& a, const RangeSet& b);

// The part of a set that is in a range, without looking at the rest. REQUIRES: it is normalized.
RangeSet part_within(const RangeSet& set, AddressRange range);

// All addresses of `a` that are not in `b`. REQUIRES: both are normalized.
RangeSet difference(const RangeSet& a, const RangeSet& b);

// REQUIRES: `set` is normalized.
bool contains(const RangeSet& set, GuestAddress address);

uint64_t total_bytes(const RangeSet& set);
inline uint64_t total_pages(const RangeSet& set) { return total_bytes(set) / kPageSize; }

}  // namespace rchk::snapshot
