#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
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
  // How many of them come before an event.
  uint64_t before(EventNumber event) const {
    const auto next =
        std::lower_bound(runs_.begin(), runs_.end(), event.value,
                         [](const Run& run, uint64_t value) { return run.event < value; });
    if (next == runs_.begin()) return 0;
    const Run& run = *std::prev(next);
    const uint64_t end = next == runs_.end() ? size_ : next->index;
    return std::min(end, run.index + (event.value - run.event));
  }
  // The index of an event, if it is one of them.
  std::optional<uint64_t> find(EventNumber event) const {
    const auto next =
        std::upper_bound(runs_.begin(), runs_.end(), event.value,
                         [](uint64_t value, const Run& run) { return value < run.event; });
    if (next == runs_.begin()) return std::nullopt;
    const Run& run = *std::prev(next);
    const uint64_t index = run.index + (event.value - run.event);
    const uint64_t end = next == runs_.end() ? size_ : next->index;
    return index < end ? std::optional(index) : std::nullopt;
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
