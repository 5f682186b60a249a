#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/translate/code_cache.h"

namespace rchk::translate {

// How often the exits of young blocks were taken, and which way conditional jumps went most often
// where that is known. Emitted code counts by itself, in counters that puppet and tracer share.
// Only what a block looks like hangs on it, never what the guest does or where it stops.
class EdgeProfile {
 public:
  explicit EdgeProfile(CodeCache& cache) : cache_(cache) { sites_.push_back(0); }

  // Whether there are counters for another block.
  bool has_room() const;
  // A counter for the exit site, at 0. REQUIRES: has_room() at the block's start.
  uint32_t take(uint32_t site);
  void release(uint32_t counter);
  // All counters are free again; directions stay known.
  void clear();

  uint32_t in_use() const { return in_use_; }
  uint32_t count(uint32_t counter) const { return cache_.counters()[counter]; }
  // The exit sites that were left through at least so many times, in the order of their making.
  std::vector<uint32_t> sites_taken(uint32_t times) const;

  // Whether the conditional jump at `pc` is taken more often than not.
  std::optional<bool> is_mostly_taken(uint64_t pc) const;
  void set_mostly_taken(uint64_t pc, bool taken) { mostly_taken_[pc] = taken; }

 private:
  CodeCache& cache_;
  std::vector<uint32_t> sites_;  // by counter; counter 0 is none
  std::vector<uint32_t> free_;
  uint32_t in_use_ = 0;
  std::unordered_map<uint64_t, bool> mostly_taken_;
};

}  // namespace rchk::translate
