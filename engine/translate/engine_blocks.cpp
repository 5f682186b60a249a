#include <algorithm>
#include <deque>

#include <csignal>

#include "base/check.h"
#include "engine/translate/engine_impl.h"

// Making blocks: on demand, and ahead of it.
namespace rchk::translate {

namespace {

// Blocks made for one miss. A stop costs as much as translating two or three blocks; and half of
// what is made ahead never runs, but lies between what does: with 40, large programs run a third
// slower (docs/notes/translation.md).
constexpr size_t kEagerBlocks = 4;

Stop special_stop(const Trace& trace) {
  Stop stop;
  stop.detail = trace.detail;
  if (trace.fetch_fault) {
    stop.reason = StopReason::kFault;
    stop.signal = SIGSEGV;
    stop.signal_code = trace.fault_code;
    stop.fault_address = trace.fault_address;
  } else if (trace.special == InstructionClass::kSyscall) {
    stop.reason = StopReason::kSyscall;
  } else if (trace.special == InstructionClass::kTrapped) {
    stop.reason = StopReason::kTrapped;
  } else {
    stop.reason = StopReason::kUnsupported;
  }
  return stop;
}

// Ends the trace in front of the first step that cannot be logged.
void keep_loggable(Trace& trace) {
  const auto first =
      std::find_if(trace.steps.begin(), trace.steps.end(),
                   [](const TraceStep& step) { return !is_loggable(step.instruction); });
  if (first == trace.steps.end()) return;
  trace.end = TraceEnd::kStopBefore;
  trace.next_pc = first->pc;
  trace.steps.erase(first, trace.steps.end());
}

}  // namespace

bool Engine::Impl::ends_trace(uint64_t pc, Flavour flavour) const {
  if (probes_.policy == HitPolicy::kStop && breakpoints_.contains(pc)) return true;
  // What a partial block would have to do inline is left to the engine.
  return is_partial(flavour) && (breakpoints_.contains(pc) || state_probe(pc) != nullptr);
}

Result<Engine::Impl::Entry> Engine::Impl::entry_for(const BlockKey& key, uint8_t depth) {
  if (Block* block = store_.find(key)) return Entry{block, {}};
  return make_block(key, depth, BlockUse::kKept);
}

Result<Engine::Impl::Entry> Engine::Impl::make_block(const BlockKey& key, uint8_t depth,
                                                     BlockUse use, Tier tier) {
  TraceLimits limits;
  EdgeProfile& profile = store_.profile();
  if (key.flavour == Flavour::kFast) limits.profile = &profile;
  if (is_partial(key.flavour)) limits.instructions = key.instructions;
  if (!breakpoints_.empty() || probes_.state) {
    limits.ends_before = [&](uint64_t pc) { return ends_trace(pc, key.flavour); };
  }
  if (probes_.state) limits.flags_seen_at = [&](uint64_t pc) { return state_probe(pc) != nullptr; };
  Trace& trace = trace_;
  build_trace(pages_, *host_, key.pc, limits, trace);
  if (logs(key.flavour)) keep_loggable(trace);
  if (trace.steps.empty()) return Entry{nullptr, special_stop(trace)};
  RCHK_TRY_ASSIGN(Arena * arena, cache_->arena_for(*host_, {key.pc}));
  Block& block = store_.make();
  block.tier = tier;
  const ProbeView* probes = breakpoints_.empty() && !probes_.state ? nullptr : this;
  TranslationRequest request{key, depth, probes, watches_reads_, use == BlockUse::kLanding};
  request.x87_places = &x87_places_;
  request.keeps_x87_pointers = processor_loses_x87_pointers();
  if (key.flavour == Flavour::kFast && tier == Tier::kCounted && profile.has_room()) {
    request.profile = &profile;
  }
  Translator(*arena, store_.sites(), scratch_).translate(trace, request, block);
  ++statistics_.blocks;
  statistics_.guest_instructions += trace.steps.size();
  block.records = store_.keep<InstructionRecord>(scratch_.records);
  note_code(block, trace);
  store_.add(block, use != BlockUse::kOnce);
  return Entry{&block, {}};
}

void Engine::Impl::note_code(Block& block, const Trace& trace) {
  std::vector<AddressRange>& ranges = code_ranges_;
  ranges.clear();
  for (const TraceStep& step : trace.steps) {
    const AddressRange bytes = range_of({step.pc}, step.instruction.length);
    if (!ranges.empty() && ranges.back().end == bytes.begin)
      ranges.back().end = bytes.end;
    else
      ranges.push_back(bytes);
  }
  block.code = store_.keep<AddressRange>(ranges);
  std::vector<GuestAddress>& pages = code_page_list_;
  pages.clear();
  for (const AddressRange& code : block.code) {
    for (GuestAddress page = code.begin.page_floor(); page < code.end; page = page + kPageSize) {
      if (std::find(pages.begin(), pages.end(), page) != pages.end()) continue;
      pages.push_back(page);
      pages_.page(*host_, page).blocks.push_back(&block);
    }
  }
}

// Makes the block at `pc` and those that its code leads to, breadth first.
Result<Block*> Engine::Impl::translate_eagerly(uint64_t pc, Flavour flavour, uint8_t depth,
                                               bool land) {
  struct Wanted {
    uint64_t pc;
    uint8_t depth;
    bool land;
  };
  std::deque<Wanted> wanted{{pc, depth, land}};
  Block* first = nullptr;
  for (size_t made = 0; made < kEagerBlocks && !wanted.empty();) {
    const Wanted next = wanted.front();
    wanted.pop_front();
    const BlockKey key{next.pc, flavour, 0};
    Block* block = store_.find(key);
    if (block == nullptr) {
      if (made != 0 && ends_trace(next.pc, flavour)) continue;
      RCHK_TRY_ASSIGN(
          const Entry entry,
          make_block(key, next.depth, next.land ? BlockUse::kLanding : BlockUse::kKept));
      ++made;
      block = entry.block;
      if (block == nullptr) {
        if (made == 1) return nullptr;
        continue;
      }
      for (uint32_t exit = block->first_site; exit < block->last_site; ++exit) {
        const ExitSite& site = store_.site(exit);
        if (site.kind == ExitKind::kDirect && site.linked == nullptr) {
          wanted.push_back({site.pc, BlockStore::depth_after(site.unchecked_depth), false});
        }
      }
      if (block->return_point != 0) wanted.push_back({block->return_point, 1, true});
    }
    if (next.land) store_.land(*block);
    if (first == nullptr) first = block;
  }
  return first;
}

void Engine::Impl::flush() {
  ++statistics_.flushes;
  store_.clear();
  cache_->reset();
  for (auto& [address, page] : pages_) page->blocks.clear();
  last_direct_exit_ = 0;
  missed_indirect_ = false;
  stopped_in_ = nullptr;
}

}  // namespace rchk::translate
