#include <algorithm>
#include <utility>

#include "engine/translate/engine_impl.h"

// Blocks where the limit's checks stop the guest again and again run often: they, and those that
// they lead to, are made anew with counters of their exits; and once more when these show which
// way they mostly go. What runs hot then has few taken jumps and lies together. What the guest
// does, and where it stops, does not hang on any of it.
namespace rchk::translate {

namespace {

// Blocks counted for one look.
constexpr size_t kCountedBlocks = 64;
// Arenas that have less left are full soon: then all is made anew, with what is known by now.
constexpr uint64_t kFullBytes = 5 << 20;

}  // namespace

Result<void> Engine::Impl::improve(uint64_t ran, uint64_t pc) {
  Block* block = std::exchange(stopped_in_, nullptr);
  if (block == nullptr) block = store_.find({pc, Flavour::kFast, 0});
  const bool is_news = block != nullptr && block->tier == Tier::kPlain;
  look_window_ += look_window_ / (is_news ? 32 : 8);
  look_window_ = std::clamp(look_window_, pace_.shortest_window, pace_.longest_window);
  // Not a multiple of any loop's length.
  next_look_ = ran + look_window_ + (ran * 0x9e3779b97f4a7c15ull >> 32) % (look_window_ / 2);
  if (cache_->fullest_left() < kFullBytes) return {};
  RCHK_TRY(remake_hot_blocks());
  if (block != nullptr && block->key.flavour == Flavour::kFast) RCHK_TRY(count_around(*block));
  return {};
}

// Makes the block, and those nearest behind it, with counters.
Result<void> Engine::Impl::count_around(Block& block) {
  std::vector<Block*> reached{&block};
  std::vector<Block*> plain;
  for (size_t i = 0; i < reached.size() && plain.size() < kCountedBlocks; ++i) {
    Block& next = *reached[i];
    if (!next.dead && next.tier == Tier::kPlain) plain.push_back(&next);
    if (reached.size() > 4 * kCountedBlocks) continue;
    const auto reach = [&](Block* target) {
      if (target == nullptr || target->dead) return;
      if (std::find(reached.begin(), reached.end(), target) != reached.end()) return;
      reached.push_back(target);
    };
    for (uint32_t exit = next.first_site; exit < next.last_site; ++exit) {
      reach(store_.site(exit).linked);
    }
    if (next.return_point != 0) reach(store_.find({next.return_point, Flavour::kFast, 0}));
  }
  for (Block* found : plain) {
    if (!found->dead) RCHK_TRY(remake(*found, Tier::kCounted));
  }
  return {};
}

Result<void> Engine::Impl::remake_hot_blocks() {
  std::vector<Block*> hot;
  for (const uint32_t site : store_.profile().sites_taken(pace_.hot_count)) {
    Block* block = store_.site(site).owner;
    if (hot.empty() || hot.back() != block) hot.push_back(block);
  }
  for (const Block* block : hot) learn_directions(*block);
  for (Block* block : hot) {
    if (cache_->fullest_left() < kFullBytes) break;
    if (!block->dead) RCHK_TRY(remake(*block, Tier::kHot));
  }
  return {};
}

// An execution of the block takes one of its exits: those that come to a conditional jump are the
// ones that leave there or at any exit behind it.
void Engine::Impl::learn_directions(const Block& block) {
  EdgeProfile& profile = store_.profile();
  uint64_t behind = 0;
  for (uint32_t index = block.first_site; index < block.last_site; ++index) {
    const ExitSite& site = store_.site(index);
    if (!site.is_conditional && site.counter != 0) behind += profile.count(site.counter);
  }
  for (uint32_t index = block.last_site; index-- > block.first_site;) {
    const ExitSite& site = store_.site(index);
    if (!site.is_conditional || site.counter == 0) continue;
    const uint64_t left = profile.count(site.counter);
    const uint64_t pc = block.key.pc + static_cast<uint64_t>(int64_t{site.branch_delta});
    if (left != behind) profile.set_mostly_taken(pc, (left > behind) == site.leaves_when_taken);
    behind += left;
  }
}

Result<void> Engine::Impl::remake(Block& block, Tier tier) {
  const bool landed = block.landed;
  store_.remove(block);
  RCHK_TRY_ASSIGN(
      const Entry entry,
      make_block(block.key, block.depth, landed ? BlockUse::kLanding : BlockUse::kKept, tier));
  if (entry.block != nullptr && landed) store_.land(*entry.block);
  ++statistics_.remade;
  return {};
}

}  // namespace rchk::translate
