#pragma once

#include <cstdint>
#include <optional>

#include "base/types.h"

namespace rchk::replay {

class Replayer;

// What a replay of a whole recording came to.
struct ReplayTotals {
  uint64_t instructions = 0;
  uint64_t checksums = 0;       // of memory, that agreed
  uint64_t snapshots = 0;       // page snapshots that it came by
  uint64_t snapshot_pages = 0;  // that changed in them
  uint64_t snapshots_restored = 0;
  std::optional<EventNumber> exit;  // the event by which the program ends, if there is one

  // Of all that a replayer has done.
  static ReplayTotals of(const Replayer& replayer);
  ReplayTotals& operator+=(const ReplayTotals& other);
  // What was counted since `before`.
  ReplayTotals operator-(const ReplayTotals& before) const;
};

}  // namespace rchk::replay
