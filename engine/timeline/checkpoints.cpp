#include "engine/timeline/checkpoints.h"

#include <cmath>
#include <iterator>

#include "snapshot/memory_cost.h"

namespace rchk::timeline {

void Checkpoints::add(Checkpoint checkpoint, int64_t present_ns) {
  const Position position = checkpoint.guest.position;
  const auto [added, fresh] = all_.emplace(position, std::move(checkpoint));
  if (!fresh) return;
  // What ran on from the one before has had its pages copied by now.
  if (added != all_.begin()) {
    Checkpoint& before = std::prev(added)->second;
    if (!before.pinned) before.cost_bytes = cost_of_(before.guest);
  }
  if (all_.size() > limit_) drop_one(present_ns);
  while (cost_bytes() > budget_bytes_ && drop_one(present_ns)) continue;
}

uint64_t Checkpoints::memory_of(const replay::Guest& guest) {
  const auto cost = snapshot::fork_cost(guest.puppet->pid());
  return cost ? cost->exclusive_bytes : 0;
}

uint64_t Checkpoints::cost_bytes() const {
  uint64_t total = 0;
  for (const auto& [position, checkpoint] : all_) total += checkpoint.cost_bytes;
  return total;
}

const Checkpoint* Checkpoints::at_or_before(const Position& position) const {
  auto next = all_.upper_bound(position);
  return next == all_.begin() ? nullptr : &std::prev(next)->second;
}

const Checkpoint* Checkpoints::before(const Position& position) const {
  auto next = all_.lower_bound(position);
  return next == all_.begin() ? nullptr : &std::prev(next)->second;
}

const Checkpoint* Checkpoints::at(const Position& position) const {
  const auto found = all_.find(position);
  return found == all_.end() ? nullptr : &found->second;
}

bool Checkpoints::unchanged_before(const Position& position, AddressRange range) const {
  const auto here = all_.find(position);
  if (here == all_.end() || here == all_.begin() || !here->second.changes) return false;
  const Changes& changes = *here->second.changes;
  if (changes.since > std::prev(here)->first) return false;
  return snapshot::intersection(changes.pages, {range.pages()}).empty();
}

// What changed on the way to the one that goes counts for the next one then.
Checkpoints::Map::iterator Checkpoints::erase(Map::iterator dropped) {
  const auto next = std::next(dropped);
  if (next != all_.end() && next->second.changes && dropped != all_.begin()) {
    Changes& changes = *next->second.changes;
    const Position& before = std::prev(dropped)->first;
    const std::optional<Changes>& more = dropped->second.changes;
    if (changes.since <= before) {
      // Told for the whole way already.
    } else if (more && changes.since <= dropped->first) {
      changes.since = more->since;
      changes.pages.insert(changes.pages.end(), more->pages.begin(), more->pages.end());
      changes.pages = snapshot::normalized(std::move(changes.pages));
    } else {
      next->second.changes.reset();
    }
  }
  return all_.erase(dropped);
}

void Checkpoints::drop_segment(EventNumber event, uint32_t anchor) {
  auto at = all_.lower_bound({event, anchor, 0, 0});
  while (at != all_.end() && at->first.event == event && at->first.anchor == anchor) at = erase(at);
}

// Drops the one whose absence costs least: the gap that it would leave, in proportion to how far
// from the user it is.
bool Checkpoints::drop_one(int64_t present_ns) {
  constexpr double kNearNs = 1e6;
  auto worst = all_.end();
  double least = 0;
  for (auto it = std::next(all_.begin()); it != all_.end(); ++it) {
    if (it->second.pinned) continue;
    const auto next = std::next(it);
    const double gap_end = next == all_.end() ? static_cast<double>(it->second.at_ns) + kNearNs
                                              : static_cast<double>(next->second.at_ns);
    const double gap = gap_end - static_cast<double>(std::prev(it)->second.at_ns);
    const double distance = std::abs(static_cast<double>(present_ns - it->second.at_ns)) + kNearNs;
    const double cost = gap / distance;
    if (worst == all_.end() || cost < least) {
      worst = it;
      least = cost;
    }
  }
  if (worst == all_.end()) return false;
  erase(worst);
  return true;
}

}  // namespace rchk::timeline
