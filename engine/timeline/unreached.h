#pragma once

#include <map>
#include <vector>

#include "base/types.h"

namespace rchk::timeline {

// Stretches of a history in which instructions are known not to have been come to, learned by
// running them. For histories whose positions stay what they are: without anchors.
class Unreached {
 public:
  // A run from `begin` to `end` came to none of the instructions, but for what `end` stands at.
  void note(const Position& begin, const Position& end,
            const std::vector<GuestAddress>& instructions);
  // Whether that is known of all of [begin, end).
  bool covers(const Position& begin, const Position& end, GuestAddress instruction) const;

 private:
  using Stretches = std::map<Position, Position>;  // ends by begins; disjoint, none touch
  std::map<GuestAddress, Stretches> known_;
};

}  // namespace rchk::timeline
