#include <algorithm>
#include <cstring>

#include "engine/translate/engine_impl.h"

// Code that changes, hosts that come and go, and what is looked for.
namespace rchk::translate {

Engine::Impl::Impl(std::unique_ptr<CodeCache> cache)
    : cache_(std::move(cache)), store_(*cache_) {}

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
    bool same = what.version == copy->version && what.executable == copy->readable &&
                what.writable == copy->writable;
    if (same && what.writable) {
      auto& known = host.translation_state().protected_pages;
      if (!known.contains({address})) {
        if (host.protect_code_page({address}, true)) known.insert({address});
        std::array<uint8_t, kPageSize> now{};
        same = host.read_memory({address}, now) == kPageSize && now == copy->bytes;
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
  const GuestAddress pages[] = {pc, pc + (kMaxInstructionBytes - 1)};
  for (const GuestAddress page : pages) drop_unprotected(page);
  pages_.set_protecting(false);
  const auto entry = make_block({pc.value, Flavour::kPartial, 1}, 1, false);
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

Result<void> Engine::Impl::set_probes(Probes probes) {
  flush();
  probes_ = std::move(probes);
  breakpoints_.clear();
  for (uint32_t i = 0; i < probes_.breakpoints.size(); ++i) {
    breakpoints_.try_emplace(probes_.breakpoints[i].value, i);
  }
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

std::optional<std::vector<AddressRange>> Engine::Impl::possible_writes(const Registers&) {
  return std::nullopt;
}

Statistics Engine::Impl::statistics() const {
  Statistics result = statistics_;
  result.cache_bytes = cache_->used_bytes();
  return result;
}

}  // namespace rchk::translate
