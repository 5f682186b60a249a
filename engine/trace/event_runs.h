#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/types.h"

namespace rchk::trace {

// A growing part of a recording's events, numbered from 0. Neighbours cost nothing: what is kept
// is where runs of them begin.
class EventRuns {
 public:
  // REQUIRES: `event` is above those that were added before.
  void add(EventNumber event) {
    const bool goes_on =
        !runs_.empty() && event.value - runs_.back().event == size_ - runs_.back().index;
    if (!goes_on) runs_.push_back({size_, event.value});
    ++size_;
  }
  uint64_t size() const { return size_; }
  // REQUIRES: index < size().
  EventNumber at(uint64_t index) const {
    const auto next =
        std::upper_bound(runs_.begin(), runs_.end(), index,
                         [](uint64_t value, const Run& run) { return value < run.index; });
    const Run& run = *std::prev(next);
    return {run.event + (index - run.index)};
  }

 private:
  struct Run {
    uint64_t index = 0;
    uint64_t event = 0;
  };
  std::vector<Run> runs_;
  uint64_t size_ = 0;
};

}  // namespace rchk::trace
