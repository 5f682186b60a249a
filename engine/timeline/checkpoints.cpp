#include "engine/timeline/checkpoints.h"

#include <algorithm>
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

void Checkpoints::note_unvisited(const Position& begin, const Position& end,
                                 const std::vector<GuestAddress>& instructions) {
  const auto first = all_.lower_bound(begin);
  if (first == all_.end() || instructions.empty()) return;
  Position before = first->first;
  for (auto at = std::next(first); at != all_.end() && at->first <= end; ++at) {
    std::optional<Unvisited>& known = at->second.unvisited;
    if (known && known->since <= before) {
      std::vector<GuestAddress> both;
      std::set_union(known->instructions.begin(), known->instructions.end(), instructions.begin(),
                     instructions.end(), std::back_inserter(both));
      known->instructions = std::move(both);
    } else {
      known = Unvisited{before, instructions};
    }
    before = at->first;
  }
}

bool Checkpoints::unvisited_before(const Position& position, GuestAddress instruction) const {
  const auto here = all_.find(position);
  if (here == all_.end() || here == all_.begin() || !here->second.unvisited) return false;
  const Unvisited& known = *here->second.unvisited;
  return known.since <= std::prev(here)->first &&
         std::binary_search(known.instructions.begin(), known.instructions.end(), instruction);
}

void Checkpoints::merge_changes(const Position& before, Checkpoint& dropped, Checkpoint& next) {
  if (!next.changes || next.changes->since <= before) return;
  if (!dropped.changes || next.changes->since > dropped.guest.position) {
    next.changes.reset();
    return;
  }
  snapshot::RangeSet& pages = dropped.changes->pages;
  pages.insert(pages.end(), next.changes->pages.begin(), next.changes->pages.end());
  next.changes = Changes{dropped.changes->since, snapshot::normalized(std::move(pages))};
}

void Checkpoints::merge_unvisited(const Position& before, const Checkpoint& dropped,
                                  Checkpoint& next) {
  if (!next.unvisited || next.unvisited->since <= before) return;
  if (!dropped.unvisited || next.unvisited->since > dropped.guest.position) {
    next.unvisited.reset();
    return;
  }
  const std::vector<GuestAddress>& a = dropped.unvisited->instructions;
  const std::vector<GuestAddress>& b = next.unvisited->instructions;
  std::vector<GuestAddress> neither;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(neither));
  next.unvisited = Unvisited{dropped.unvisited->since, std::move(neither)};
}

// What is known of the way to the one that goes is known of the way to the next one then.
Checkpoints::Map::iterator Checkpoints::erase(Map::iterator dropped) {
  const auto next = std::next(dropped);
  if (next != all_.end() && dropped != all_.begin()) {
    const Position& before = std::prev(dropped)->first;
    merge_changes(before, dropped->second, next->second);
    merge_unvisited(before, dropped->second, next->second);
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
