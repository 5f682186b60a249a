#include "engine/timeline/unreached.h"

#include <algorithm>

namespace rchk::timeline {

void Unreached::note(const Position& begin, const Position& end,
                     const std::vector<GuestAddress>& instructions) {
  if (begin >= end) return;
  for (const GuestAddress instruction : instructions) {
    Stretches& stretches = known_[instruction];
    Position first = begin, last = end;
    auto at = stretches.upper_bound(begin);
    if (at != stretches.begin() && std::prev(at)->second >= begin) --at;
    while (at != stretches.end() && at->first <= end) {
      first = std::min(first, at->first);
      last = std::max(last, at->second);
      at = stretches.erase(at);
    }
    stretches.emplace(first, last);
  }
}

bool Unreached::covers(const Position& begin, const Position& end, GuestAddress instruction) const {
  const auto known = known_.find(instruction);
  if (known == known_.end()) return false;
  const auto behind = known->second.upper_bound(begin);
  return behind != known->second.begin() && std::prev(behind)->second >= end;
}

}  // namespace rchk::timeline
