#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/types.h"
#include "engine/replay/guest.h"
#include "snapshot/range_set.h"

namespace rchk::timeline {

// Pages that may have changed between two points; all others did not.
struct Changes {
  Position since;
  snapshot::RangeSet pages;
};

// Instructions that are known not to have been come to between two points, the second excluded.
struct Unvisited {
  Position since;
  std::vector<GuestAddress> instructions;  // in order
};

// A stopped guest to fork from, and how long a replay takes to get there from the start.
struct Checkpoint {
  replay::Guest guest;
  int64_t at_ns = 0;
  bool pinned = false;  // never dropped
  // Memory that it alone holds on to; known once the next one has been made behind it.
  uint64_t cost_bytes = 0;
  // What changed on the way to it, if that is known.
  std::optional<Changes> changes{};
  // Where the guest did not come by on the way to it, as far as that is known.
  std::optional<Unvisited> unvisited{};
};

// The fork snapshots of a timeline, by position. Holds at most `limit` of them, and fewer where
// those that are not pinned cost more than `budget_bytes`: dense around the point where the user
// is, and thinner the further away, so that any point is a bounded run away and the neighbourhood
// is near.
class Checkpoints {
 public:
  using CostOf = std::function<uint64_t(const replay::Guest&)>;
  Checkpoints(size_t limit, uint64_t budget_bytes, CostOf cost_of = memory_of)
      : limit_(limit), budget_bytes_(budget_bytes), cost_of_(std::move(cost_of)) {}

  // Keeps `guest`, unless there is one at its position already; drops another if need be.
  // `present_ns` is where the user is.
  void add(Checkpoint checkpoint, int64_t present_ns);
  // The latest one at or before `position`, or null.
  const Checkpoint* at_or_before(const Position& position) const;
  // The latest one strictly before `position`, or null.
  const Checkpoint* before(const Position& position) const;
  // Drops those behind `anchor` of `event`, up to the next anchor or event.
  void drop_segment(EventNumber event, uint32_t anchor);
  // The one at exactly that position, or null.
  const Checkpoint* at(const Position& position) const;
  bool contains(const Position& position) const { return all_.contains(position); }
  // Whether nothing in `range` changed between the checkpoint at `position` and the one before it;
  // false where that is not known, or there is no checkpoint at `position`.
  bool unchanged_before(const Position& position, AddressRange range) const;
  // A run from `begin` to `end` came to none of the instructions, which are in order.
  void note_unvisited(const Position& begin, const Position& end,
                      const std::vector<GuestAddress>& instructions);
  // Whether the guest did not come to the instruction between the checkpoint at `position` and the
  // one before it; false where that is not known.
  bool unvisited_before(const Position& position, GuestAddress instruction) const;
  bool empty() const { return all_.empty(); }
  const std::map<Position, Checkpoint>& all() const { return all_; }
  size_t size() const { return all_.size(); }
  uint64_t cost_bytes() const;
  int64_t latest_ns() const { return all_.empty() ? 0 : all_.rbegin()->second.at_ns; }

 private:
  using Map = std::map<Position, Checkpoint>;
  Map::iterator erase(Map::iterator dropped);
  static void merge_changes(const Position& before, Checkpoint& dropped, Checkpoint& next);
  static void merge_unvisited(const Position& before, const Checkpoint& dropped, Checkpoint& next);
  static uint64_t memory_of(const replay::Guest& guest);
  // False when all are pinned.
  bool drop_one(int64_t present_ns);

  size_t limit_;
  uint64_t budget_bytes_;
  CostOf cost_of_;
  Map all_;
};

}  // namespace rchk::timeline
