#include "engine/record/memory_changes.h"

#include <algorithm>

namespace rchk::record {

namespace {

// Ranges before those that touch are joined.
constexpr size_t kMostUnjoined = 4096;

}  // namespace

void MemoryChanges::Ranges::add(const snapshot::RangeSet& more) {
  ranges.insert(ranges.end(), more.begin(), more.end());
  if (ranges.size() < std::max(kMostUnjoined, 2 * joined)) return;
  ranges = snapshot::normalized(std::move(ranges));
  joined = ranges.size();
}

void MemoryChanges::note_written(const snapshot::RangeSet& ranges) {
  snapshot::RangeSet pages;
  pages.reserve(ranges.size());
  for (const AddressRange& range : ranges) pages.push_back(range.pages());
  written_.add(pages);
}

void MemoryChanges::note_written(const std::vector<trace::MemoryWrite>& writes) {
  snapshot::RangeSet ranges;
  for (const trace::MemoryWrite& write : writes) {
    ranges.push_back(range_of(write.address, write.bytes.size()));
  }
  note_written(ranges);
}

void MemoryChanges::begin_anew(const snapshot::RangeSet& in_flight) {
  replaced_ = {};
  written_ = {};
  note_written(in_flight);
}

}  // namespace rchk::record
