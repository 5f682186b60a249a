#pragma once

#include <cstddef>

#include "engine/trace/event.h"
#include "snapshot/range_set.h"

namespace rchk::record {

// Where a memory changed since its last page snapshot, or may have, in as far as its dirty tracker
// does not say so any more, or never does.
class MemoryChanges {
 public:
  // Other contents than before are where something was mapped, unmapped, moved or thrown away.
  void note_replaced(const snapshot::RangeSet& ranges) { replaced_.add(ranges); }
  // Something was stored there.
  void note_written(const snapshot::RangeSet& ranges);
  void note_written(const std::vector<trace::MemoryWrite>& writes);
  // There is a snapshot of all of it, but for where calls under way may be storing.
  void begin_anew(const snapshot::RangeSet& in_flight);

  // Normalized.
  snapshot::RangeSet replaced() const { return snapshot::normalized(replaced_.ranges); }
  // Whole pages; not normalized.
  const snapshot::RangeSet& written() const { return written_.ranges; }

 private:
  // Those that touch are joined now and then.
  struct Ranges {
    snapshot::RangeSet ranges;
    size_t joined = 0;  // how many they were when that was done last
    void add(const snapshot::RangeSet& more);
  };
  Ranges replaced_, written_;
};

}  // namespace rchk::record
