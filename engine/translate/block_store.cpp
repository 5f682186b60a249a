#include "engine/translate/block_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "engine/translate/landing.h"

namespace rchk::translate {

#define SLOT(name) offsetof(StatePage, name)

BlockStore::BlockStore(CodeCache& cache) : cache_(cache) { clear(); }

void BlockStore::clear() {
  by_key_ = std::pmr::unordered_map<BlockKey, Slot>(&pool_);
  by_address_.clear();
  findable_ = 0;
  buckets_.clear();
  far_jumps_.clear();
  sites_.clear();
  profile_.clear();
  pool_.release();
  sites_.add(ExitSite{.kind = ExitKind::kIndirect});  // the one all indirect jumps share
}

Block* BlockStore::find(const BlockKey& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second.block;
}

Block* BlockStore::at(uint64_t cache_address) const {
  const Arena* arena = cache_.arena_at(cache_address);
  if (arena == nullptr || arena->index >= by_address_.size()) return nullptr;
  const std::vector<Block*>& blocks = by_address_[arena->index];
  const auto after =
      std::upper_bound(blocks.begin(), blocks.end(), cache_address,
                       [](uint64_t address, const Block* block) { return address < block->entry; });
  if (after == blocks.begin()) return nullptr;
  Block* block = *std::prev(after);
  return cache_address < block->end ? block : nullptr;
}

void BlockStore::wait_for(const BlockKey& key, uint32_t site) {
  Slot& slot = by_key_[key];
  sites_[site].next = slot.waiting;
  slot.waiting = site;
}

uint8_t BlockStore::depth_after(uint8_t unchecked_depth) {
  return unchecked_depth >= kMaxDepth ? 1 : static_cast<uint8_t>(unchecked_depth + 1);
}

void BlockStore::add(Block& block, bool findable) {
  const Arena* arena = cache_.arena_at(block.entry);
  if (by_address_.size() <= arena->index) by_address_.resize(arena->index + 1);
  by_address_[arena->index].push_back(&block);
  for (uint32_t index = block.first_site; index < block.last_site; ++index) {
    if (sites_[index].kind != ExitKind::kDirect) continue;
    Slot& slot = by_key_[BlockKey{sites_[index].pc, block.key.flavour, 0}];
    if (slot.block != nullptr) {
      link(index, *slot.block);
    } else {
      sites_[index].next = slot.waiting;
      slot.waiting = index;
    }
  }
  if (!findable) return;
  ++findable_;
  Slot& slot = by_key_[block.key];
  slot.block = &block;
  for (uint32_t index = std::exchange(slot.waiting, 0); index != 0;) {
    const uint32_t next = sites_[index].next;
    if (!sites_[index].owner->dead) link(index, block);
    index = next;
  }
}

uint64_t BlockStore::in_reach(uint64_t distance_end, uint64_t target) {
  const auto distance = static_cast<int64_t>(target - distance_end);
  if (distance == static_cast<int32_t>(distance)) return target;
  Arena* arena = cache_.arena_at(distance_end);
  uint64_t& jump = far_jumps_[{arena->index, target}];
  if (jump == 0) {
    Emitter out = arena->hot_emitter();
    jump = out.here();
    out.bytes(0xff, 0x25, 0, 0, 0, 0);  // jmp [rip + 0]
    out.qword(target);
    arena->used += 16;
  }
  return jump;
}

void BlockStore::point(uint8_t* distance, uint64_t distance_end, uint64_t target) {
  const auto value = static_cast<uint32_t>(in_reach(distance_end, target) - distance_end);
  std::memcpy(distance, &value, 4);
}

uint64_t BlockStore::checked_entry(Block& block) {
  if (block.checked_entry != 0) return block.checked_entry;
  Arena* arena = cache_.arena_at(block.entry);
  Emitter out = arena->hot_emitter();
  ExitSite site;
  site.kind = ExitKind::kArrive;
  site.pc = block.key.pc;
  site.owner = &block;
  const uint32_t index = sites_.add(site);
  block.checked_entry = out.here();
  uint8_t* stop;
  if (block.flags_dead_at_entry) {
    out.bytes(0x4d, 0x85, 0xdb);  // test r11, r11
    stop = out.jump_short_if(kNotSign);
  } else {
    out.store(SLOT(rcx), kRcx);
    out.counter_sign_to_ecx(0);
    stop = out.jecxz();
    out.load(kRcx, SLOT(rcx));
  }
  out.jump(block.entry);
  out.bind_short(stop);
  out.store_imm32(SLOT(exit_site), index);
  out.jump(block.flags_dead_at_entry ? arena->leave : arena->leave_rcx_saved);
  arena->take_hot(out);
  return block.checked_entry;
}

void BlockStore::link(uint32_t index, Block& target) {
  const bool precise = target.key.flavour != Flavour::kFast;  // checks for itself
  const bool unchecked =
      precise || target.checks_first || sites_[index].unchecked_depth < target.depth;
  const uint64_t entry = unchecked ? target.entry : checked_entry(target);
  ExitSite& site = sites_[index];
  RCHK_CHECK(site.linked == nullptr);  // one list of incoming exits at a time
  site.linked = &target;
  site.next = target.incoming;
  target.incoming = index;
  point(site.distance, site.distance_end, entry);
}

void BlockStore::land(Block& block) {
  if (block.landed) return;
  block.landed = true;
  if (block.landing == 0) {
    Arena* arena = cache_.arena_at(block.entry);
    Emitter out = arena->hot_emitter();
    emit_landing(out, block, arena->indirect_miss);
    out.jump(block.entry);
    arena->take_hot(out);
  }
  const auto table = static_cast<unsigned>(block.key.flavour);
  const auto bucket = static_cast<uint16_t>(block.key.pc);
  auto& chain = buckets_[table << 16 | bucket];
  chain.insert(chain.begin(), &block);
  rechain(table, bucket);
}

// Landings of one bucket form a chain that each goes down when the target is not its own.
void BlockStore::rechain(unsigned table, uint16_t bucket) {
  const auto found = buckets_.find(table << 16 | bucket);
  if (found == buckets_.end() || found->second.empty()) {
    cache_.table(table)[bucket] = cache_.miss_address();
    return;
  }
  const std::vector<Block*>& chain = found->second;
  cache_.table(table)[bucket] = chain[0]->landing;
  for (size_t i = 0; i < chain.size(); ++i) {
    const Arena* arena = cache_.arena_at(chain[i]->landing);
    uint8_t* place = chain[i]->landing_mismatch;
    const uint64_t end = arena->address + static_cast<uint64_t>(place + 4 - arena->bytes);
    point(place, end, i + 1 < chain.size() ? chain[i + 1]->landing : arena->indirect_miss);
  }
}

void BlockStore::remove(Block& block) {
  if (block.dead) return;
  block.dead = true;
  for (uint32_t index = block.first_site; index < block.last_site; ++index) {
    if (const uint32_t counter = std::exchange(sites_[index].counter, 0)) {
      profile_.release(counter);
    }
  }
  const auto known = by_key_.find(block.key);
  if (known != by_key_.end() && known->second.block == &block) {
    known->second.block = nullptr;
    --findable_;
  }
  for (uint32_t index = std::exchange(block.incoming, 0), next = 0; index != 0; index = next) {
    ExitSite& site = sites_[index];
    next = site.next;
    site.linked = nullptr;
    point(site.distance, site.distance_end, site.stub);
    if (!site.owner->dead) {
      wait_for(BlockKey{site.pc, block.key.flavour, 0}, index);
    }
  }
  if (!block.landed) return;
  const auto table = static_cast<unsigned>(block.key.flavour);
  const auto bucket = static_cast<uint16_t>(block.key.pc);
  std::erase(buckets_[table << 16 | bucket], &block);
  rechain(table, bucket);
}

}  // namespace rchk::translate
