#pragma once

#include <optional>
#include <vector>

#include "engine/trace/source.h"

namespace rchk::timeline {

// A point of a history that the recording has a page snapshot of.
struct Station {
  EventNumber event;  // it lies right behind
  trace::SnapshotNumber number;
  Position position() const { return {event, 0, 0, 0}; }
};

// What making a guest of a page snapshot costs, about.
struct RestoreCost {
  int64_t process_ns = 5'000'000;
  int64_t page_ns = 6'000;
};

// The page snapshots of one process: places to begin a replay at, and an index of what changed
// between them. Looks at no contents.
class Stations {
 public:
  // `source` outlives it.
  explicit Stations(trace::EventSource& source);

  bool empty() const { return all_.empty(); }
  // The latest one at or before `position`, or null; likewise strictly before.
  const Station* at_or_before(const Position& position) const;
  const Station* before(const Position& position) const;
  // The first one at or behind `position`, or null.
  const Station* at_or_after(const Position& position) const;
  // The one at exactly that position, or null.
  const Station* at(const Position& position) const;

  Result<std::shared_ptr<const trace::Snapshot>> snapshot(const Station& station) const;
  // Whether `range` may have been stored to, or mapped to something else, since the station before.
  Result<bool> touched(const Station& station, AddressRange range) const;
  void set_restore_cost(RestoreCost cost) { cost_ = cost; }
  // How long it takes to make a guest of it, about.
  Result<int64_t> restore_ns(const Station& station) const;
  // How much memory a guest made of it has, about.
  Result<uint64_t> memory_bytes(const Station& station) const;
  // Whether the station before is of the same program.
  Result<bool> same_program_as_before(const Station& station) const;

 private:
  trace::SnapshotSource* source_;
  RestoreCost cost_;
  std::vector<Station> all_;  // in order
};

}  // namespace rchk::timeline
