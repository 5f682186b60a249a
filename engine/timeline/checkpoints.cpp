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

void Checkpoints::drop_segment(EventNumber event, uint32_t anchor) {
  const auto begin = all_.lower_bound({event, anchor, 0, 0});
  auto end = begin;
  while (end != all_.end() && end->first.event == event && end->first.anchor == anchor) ++end;
  all_.erase(begin, end);
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
  all_.erase(worst);
  return true;
}

}  // namespace rchk::timeline
