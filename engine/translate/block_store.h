#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "engine/translate/block.h"
#include "engine/translate/code_cache.h"
#include "engine/translate/edge_profile.h"
#include "engine/translate/pool.h"

namespace rchk::translate {

// Knows all blocks: finds them, links the jumps between them, and takes them out again. Owns the
// blocks and the exit sites; the code itself lies in the CodeCache.
class BlockStore {
 public:
  explicit BlockStore(CodeCache& cache);

  SiteTable& sites() { return sites_; }
  ExitSite& site(uint32_t index) { return sites_[index]; }
  EdgeProfile& profile() { return profile_; }

  Block* find(const BlockKey& key) const;
  // The live or dead block that `cache_address` lies in, or null.
  Block* at(uint64_t cache_address) const;

  // An empty block, and a copy of `values` that lives as long: until clear().
  Block& make() { return *new (pool_.allocate(sizeof(Block), alignof(Block))) Block(); }
  template <typename T>
  std::span<T> keep(std::span<const T> values) {
    static_assert(std::is_trivially_destructible_v<T>);
    T* copy = static_cast<T*>(pool_.allocate(values.size_bytes(), alignof(T)));
    std::uninitialized_copy(values.begin(), values.end(), copy);
    return {copy, values.size()};
  }
  // Takes in a translated block: links its exits to blocks that are there, and exits that wait
  // for it to it.
  // `findable`: whether find() is to return it from now on.
  void add(Block& block, bool findable);
  // Makes indirect jumps find the block. Emits a landing if it was made without one.
  void land(Block& block);
  // Links a direct exit to `target`; checks the limit on the way where a cycle needs it.
  void link(uint32_t site, Block& target);
  // Makes it as if the block had never been; its memory is used again after a flush only.
  void remove(Block& block);
  void clear();

  uint64_t count() const { return findable_; }
  // Blocks whose depth an exit with this many unchecked blocks behind it may give its target.
  static uint8_t depth_after(uint8_t unchecked_depth);

 private:
  void point(uint8_t* distance, uint64_t distance_end, uint64_t target);
  uint64_t checked_entry(Block& block);
  uint64_t in_reach(uint64_t distance_end, uint64_t target);
  void rechain(unsigned table, uint16_t bucket);

  CodeCache& cache_;
  Pool pool_;
  static_assert(std::is_trivially_destructible_v<Block>);
  // What is known of one key: its block, or the exits that wait for there to be one, as a list
  // through ExitSite::next.
  struct Slot {
    Block* block = nullptr;
    uint32_t waiting = 0;
  };
  void wait_for(const BlockKey& key, uint32_t site);

  std::pmr::unordered_map<BlockKey, Slot> by_key_{&pool_};
  std::vector<std::vector<Block*>> by_address_;  // by arena, in the order of their addresses
  uint64_t findable_ = 0;
  std::unordered_map<uint32_t, std::vector<Block*>> buckets_;    // table << 16 | low bits of pc
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> far_jumps_;  // (arena, target)
  SiteTable sites_{pool_};
  EdgeProfile profile_{cache_};
};

}  // namespace rchk::translate
