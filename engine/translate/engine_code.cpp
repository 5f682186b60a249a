#include <algorithm>
#include <cstring>

#include "engine/translate/engine_impl.h"

// Code that changes, hosts that come and go, and what is looked for.
namespace rchk::translate {

namespace {

// Faulting stores into a page of code after which it is left writable.
constexpr unsigned kPatience = 16;

bool has_same_bytes(Host& host, GuestAddress page, const CodePageCopy& copy) {
  std::array<uint8_t, kPageSize> now{};
  return host.read_memory(page, now) == kPageSize && now == copy.bytes;
}

}  // namespace

Engine::Impl::Impl(std::unique_ptr<CodeCache> cache, const ImprovementPace& pace)
    : cache_(std::move(cache)), store_(*cache_), pace_(pace) {}

Result<void> Engine::Impl::attach(Host& host) {
  host_ = &host;
  auto mapped = cache_->map_into(host);
  if (!mapped) {
    flush();
    RCHK_TRY(cache_->move_away(host));
    RCHK_TRY(cache_->map_into(host));
  }
  std::vector<GuestAddress> stale;
  for (auto& [address, copy] : pages_) {
    const CodePage what = host.code_page({address});
    bool same = (what.executable == copy->readable || copy->checks_itself) &&
                what.writable == copy->writable;
    if (same && what.version != copy->version) {
      // A host that was made anew may have the same code. What it has now decides.
      same = !copy->checks_itself && has_same_bytes(host, {address}, *copy);
      if (same) copy->version = what.version;
    }
    if (same && what.writable && !copy->checks_itself) {
      auto& known = host.translation_state().protected_pages;
      const auto seen = known.find({address});
      if (seen == known.end() || seen->second != copy->contents) {
        const bool is_protected = seen != known.end() || host.protect_code_page({address}, true);
        same = has_same_bytes(host, {address}, *copy);
        // 0: contents that no copy has.
        if (is_protected) known[{address}] = same ? copy->contents : 0;
      }
    }
    if (!same) stale.push_back({address});
  }
  for (const GuestAddress page : stale) drop_page(page);
  return {};
}

void Engine::Impl::drop_page(GuestAddress page) {
  CodePageCopy* copy = pages_.find(page);
  if (copy == nullptr) return;
  ++statistics_.invalidations;
  for (Block* block : copy->blocks) store_.remove(*block);
  copy->blocks.clear();
  copy->readable = false;  // to be read again
}

void Engine::Impl::invalidate(AddressRange range) {
  range = range.pages();
  if (range.size() / kPageSize > 4096) {
    std::vector<GuestAddress> hit;
    for (auto& [address, copy] : pages_) {
      if (range.contains(GuestAddress{address})) hit.push_back({address});
    }
    for (const GuestAddress page : hit) drop_page(page);
    return;
  }
  for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) drop_page(page);
}

// A store that faulted: true if it faulted only because the page holds translated code. Then the
// page's translations are gone and the store has been made.
Result<bool> Engine::Impl::code_written(Progress& progress, GuestAddress address) {
  auto& known = host_->translation_state().protected_pages;
  const GuestAddress page = address.page_floor();
  if (!known.contains(page)) return false;
  known.erase(page);
  RCHK_TRY(host_->protect_code_page(page, false));
  if (CodePageCopy* copy = pages_.find(page);
      copy != nullptr && ++copy->write_faults >= kPatience) {
    pages_.let_change(page);
  }
  drop_page(page);
  progress.counts_here = false;  // the instruction is under way: its probes have been counted
  progress.store_once = true;
  return true;
}

// Executes the instruction that stores to code. Its own page is left writable for it, or it would
// fault for ever if it lies on the page that it stores to; so its translation is used only once.
Result<std::optional<Stop>> Engine::Impl::store_to_code(Progress& progress) {
  progress.store_once = false;
  const GuestAddress pc = progress.registers.pc();
  const bool watching = !probes_.watchpoints.empty() && !watches_reads_;
  const GuestAddress pages[] = {pc, pc + (kMaxInstructionBytes - 1)};
  for (const GuestAddress page : pages) drop_unprotected(page);
  pages_.set_protecting(false);
  const auto entry = make_block(
      {pc.value, watching ? Flavour::kPartialWatch : Flavour::kPartial, 1}, 1, BlockUse::kOnce);
  pages_.set_protecting(true);
  if (!entry) return tl::make_unexpected(entry.error());
  if (entry->block == nullptr) return entry->stop;
  auto stop = enter(progress, *entry->block, 0);
  for (const GuestAddress page : pages) drop_unprotected(page);
  return stop;
}

void Engine::Impl::drop_unprotected(GuestAddress page) {
  const CodePageCopy* copy = pages_.find(page);
  if (copy == nullptr || !copy->writable) return;
  if (!host_->translation_state().protected_pages.contains(page.page_floor())) drop_page(page);
}

Result<void> Engine::Impl::make_room(AddressRange range) {
  if (!cache_->overlaps(range)) return {};
  flush();
  return cache_->move_away(*host_);
}

void Engine::Impl::drop_blocks_at(uint64_t pc) {
  CodePageCopy* copy = pages_.find({pc});
  if (copy == nullptr) return;
  std::vector<Block*> kept;
  for (Block* block : copy->blocks) {
    if (block->dead) continue;
    if (is_translated_from(*block, range_of({pc}, 1)))
      store_.remove(*block);
    else
      kept.push_back(block);
  }
  copy->blocks = std::move(kept);
}

// Drops the translations that would do something else now, and no others.
Result<void> Engine::Impl::set_probes(Probes probes) {
  std::unordered_map<uint64_t, uint32_t> breakpoints;
  for (uint32_t i = 0; i < probes.breakpoints.size(); ++i) {
    breakpoints.try_emplace(probes.breakpoints[i].value, i);
  }
  const bool inline_now = probes.policy == HitPolicy::kRemember;
  const bool policy_changes = probes.policy != probes_.policy;
  auto changed = [&](uint64_t pc, uint32_t index, const auto& others) {
    const auto other = others.find(pc);
    // The index is part of what is emitted for a remembered hit.
    return policy_changes || other == others.end() || (inline_now && other->second != index);
  };
  for (const auto& [pc, index] : breakpoints) {
    if (changed(pc, index, breakpoints_)) drop_blocks_at(pc);
  }
  for (const auto& [pc, index] : breakpoints_) {
    if (changed(pc, index, breakpoints)) drop_blocks_at(pc);
  }
  if (probes.state != probes_.state) {
    if (probes_.state) drop_blocks_at(probes_.state->expected.rip);
    if (probes.state) drop_blocks_at(probes.state->expected.rip);
  }
  if (probes.watchpoints != probes_.watchpoints) RCHK_TRY(set_watchpoints(probes.watchpoints));
  breakpoints_ = std::move(breakpoints);
  probes_ = std::move(probes);
  return {};
}

std::optional<uint32_t> Engine::Impl::remembered_breakpoint(uint64_t pc) const {
  if (probes_.policy != HitPolicy::kRemember || breakpoints_.empty()) return std::nullopt;
  const auto found = breakpoints_.find(pc);
  if (found == breakpoints_.end()) return std::nullopt;
  return found->second;
}

const StateProbe* Engine::Impl::state_probe(uint64_t pc) const {
  return probes_.state && probes_.state->expected.rip == pc ? &*probes_.state : nullptr;
}

bool Engine::Impl::is_rep_string(GuestAddress pc) {
  std::array<uint8_t, 16> buffer{};
  Instruction instruction;
  const auto code = pages_.fetch(*host_, pc, buffer);
  return code.count != 0 && decode(code.bytes, code.count, instruction) == DecodeStatus::kOk &&
         instruction.rep_string;
}

bool Engine::Impl::branches_nowhere(const Registers& registers) {
  const auto step = step_at(registers.pc());
  if (!step || !is_indirect_branch(step->instruction)) return false;
  const Instruction& branch = step->instruction;
  if (branch.has_modrm && !branch.has_memory_operand()) {
    return !is_canonical(registers.*general_register(branch.rm() | (branch.rex & 1) << 3));
  }
  const auto accesses = memory_accesses(*step, registers);
  if (!accesses) return false;
  for (const MemoryAccess& access : *accesses) {
    uint64_t target = 0;
    const std::span<uint8_t> bytes{reinterpret_cast<uint8_t*>(&target), sizeof(target)};
    if (!access.reads || access.range.size() != sizeof(target)) continue;
    return host_->read_memory(access.range.begin, bytes) == sizeof(target) && !is_canonical(target);
  }
  return false;
}

Result<void> Engine::Impl::run_rep_iterations(Registers& registers, uint64_t iterations) {
  // The same instruction with a smaller rcx, then pc and rcx put right.
  const uint64_t rest = registers.rcx - iterations;
  const GuestAddress pc = registers.pc();
  registers.rcx = iterations;
  const auto stop = run(registers, {1, false});
  if (!stop) return tl::make_unexpected(stop.error());
  registers.rip = pc.value;
  registers.rcx += rest;
  return {};
}

std::optional<std::vector<AddressRange>> Engine::Impl::possible_writes(const Registers& registers) {
  const auto step = step_at(registers.pc());
  if (!step) return std::nullopt;
  return possible_stores(*step, registers);
}

Statistics Engine::Impl::statistics() const {
  Statistics result = statistics_;
  result.cache_bytes = cache_->used_bytes();
  return result;
}

}  // namespace rchk::translate
