#include "engine/translate/edge_profile.h"

#include <algorithm>

#include "engine/translate/block.h"

namespace rchk::translate {

bool EdgeProfile::has_room() const {
  // A block has an exit for each instruction at most, and two at its end.
  return free_.size() + (kCounters - sites_.size()) >= kMaxBlockInstructions + 2;
}

uint32_t EdgeProfile::take(uint32_t site) {
  ++in_use_;
  if (free_.empty()) {
    sites_.push_back(site);
    return static_cast<uint32_t>(sites_.size() - 1);
  }
  const uint32_t counter = free_.back();
  free_.pop_back();
  sites_[counter] = site;
  return counter;
}

void EdgeProfile::release(uint32_t counter) {
  --in_use_;
  cache_.counters()[counter] = 0;
  free_.push_back(counter);
}

void EdgeProfile::clear() {
  std::fill_n(cache_.counters(), sites_.size(), 0);
  sites_.resize(1);
  free_.clear();
  in_use_ = 0;
}

std::vector<uint32_t> EdgeProfile::sites_taken(uint32_t times) const {
  std::vector<uint32_t> found;
  const uint32_t* counters = cache_.counters();
  for (size_t i = 1; i < sites_.size(); ++i) {
    if (counters[i] >= times) found.push_back(sites_[i]);
  }
  return found;
}

std::optional<bool> EdgeProfile::is_mostly_taken(uint64_t pc) const {
  const auto found = mostly_taken_.find(pc);
  if (found == mostly_taken_.end()) return std::nullopt;
  return found->second;
}

}  // namespace rchk::translate
