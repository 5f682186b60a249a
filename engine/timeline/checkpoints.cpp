#include "engine/timeline/checkpoints.h"

#include <cmath>
#include <iterator>

namespace rchk::timeline {

void Checkpoints::add(Checkpoint checkpoint, int64_t present_ns) {
  const Position position = checkpoint.guest.position;
  all_.emplace(position, std::move(checkpoint));
  if (all_.size() > limit_) drop_one(present_ns);
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
void Checkpoints::drop_one(int64_t present_ns) {
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
  if (worst != all_.end()) all_.erase(worst);
}

}  // namespace rchk::timeline
