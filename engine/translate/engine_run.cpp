#include <csignal>

#include "base/check.h"
#include "engine/translate/engine_impl.h"

// Running: entering blocks, and making the guest's state out of what they left.
namespace rchk::translate {

namespace {

// kFast overshoots a limit by less than kCheckBound; behind a check there may be flags that are
// not the guest's until the next instruction that sets them, which is in the same block.
constexpr uint64_t kSlack = kCheckBound + kMaxBlockInstructions + 8;
// Where so little is left, precise blocks do it all.
constexpr uint64_t kFastWorthwhile = 512;
// The counter's magnitude stays within 31 bits (see Emitter::counter_sign_to_ecx).
constexpr uint64_t kMaxBudget = 1ull << 30;
// An arena with less left is full; one stay outside the cache never emits more.
constexpr uint64_t kReserveBytes = 4 << 20;
// Up to here one partial block does it without a precise one.
constexpr uint64_t kShortRun = 16;

}  // namespace

Result<Stop> Engine::Impl::run(Registers& registers, const RunRequest& request) {
  RCHK_CHECK(host_ != nullptr);
  last_hit_.reset();
  Progress progress{registers, request.instruction_limit, 0, request.report_at_start, false, false};
  cache_->state().hit_site = 0;
  if (!probes_.watchpoints.empty()) read_watched();
  last_direct_exit_ = 0;
  missed_indirect_ = false;
  for (;;) {
    RCHK_TRY_ASSIGN(std::optional<Stop> stop, advance(progress));
    if (!stop) continue;
    stop->retired = progress.retired;
    ran_ += progress.retired;
    return *stop;
  }
}

// Goes on from a pc whose state is exact (but for flags nobody can see) for one stay in the cache.
Result<std::optional<Stop>> Engine::Impl::advance(Progress& progress) {
  const uint64_t left = progress.limit - progress.retired;
  if (left == 0) return Stop{.reason = StopReason::kInstructionLimit};
  if (cache_->fullest_left() < kReserveBytes) flush();
  if (progress.store_once) return store_to_code(progress);
  const uint64_t ran = ran_ + progress.retired;
  if (ran >= next_look_ && !progress.logs) RCHK_TRY(improve(ran, progress.registers.rip));
  const uint64_t pc = progress.registers.rip;
  const bool probed = breakpoints_.contains(pc) || state_probe(pc) != nullptr;
  if (probed && progress.counts_here) {
    if (auto stop = probe_here(progress, left)) return stop;
  }
  const bool watching = !probes_.watchpoints.empty();
  if (watches_reads_ && (progress.look_once || left <= kShortRun)) return watched_step(progress);
  BlockKey key{pc, watching ? Flavour::kWatch : Flavour::kFast, 0};
  Flavour partial = watching ? Flavour::kPartialWatch : Flavour::kPartial;
  if (progress.logs) {
    key.flavour = Flavour::kLogged;
    partial = Flavour::kPartialLogged;
  }
  uint64_t budget = std::min(left, kMaxBudget);
  const bool step_over = probed && !progress.counts_here;
  if (step_over && watches_reads_) return watched_step(progress);
  if (step_over || left <= kShortRun) {
    key.flavour = partial;
    key.instructions = static_cast<uint8_t>(step_over ? 1 : left);
    budget = 0;
  } else if (key.flavour == Flavour::kFast && left < kSlack + kFastWorthwhile) {
    key.flavour = Flavour::kPrecise;
  } else if (key.flavour == Flavour::kFast) {
    budget = std::min(left - kSlack, kMaxBudget);
    budget = std::min(budget, std::max(next_look_ - ran, kFastWorthwhile));
  }
  counted_here_ = progress.counts_here;
  progress.counts_here = true;
  const bool chained = !is_partial(key.flavour);
  Block* block = store_.find(key);
  if (block == nullptr || missed_indirect_ || last_direct_exit_ != 0) {
    Entry entry;
    if (chained) {
      uint8_t depth = 1;
      if (last_direct_exit_ != 0) {
        depth = BlockStore::depth_after(store_.site(last_direct_exit_).unchecked_depth);
      }
      if (block == nullptr) ++statistics_.misses;
      RCHK_TRY_ASSIGN(entry.block, translate_eagerly(pc, key.flavour, depth, missed_indirect_));
      if (entry.block == nullptr) {
        RCHK_TRY_ASSIGN(entry, make_block(key, depth, BlockUse::kKept));
      }
    } else {
      RCHK_TRY_ASSIGN(entry, entry_for(key, 1));
    }
    if (entry.block == nullptr) return without_block(progress, entry.stop);
    block = entry.block;
  }
  last_direct_exit_ = 0;
  missed_indirect_ = false;
  if (is_precise(key.flavour) && block->instructions > left) {
    if (watches_reads_) return watched_step(progress);
    budget = 0;
    key = BlockKey{pc, partial, static_cast<uint8_t>(left)};
    RCHK_TRY_ASSIGN(const Entry entry, entry_for(key, 1));
    if (entry.block == nullptr) return without_block(progress, entry.stop);
    block = entry.block;
  }
  return enter(progress, *block, static_cast<int64_t>(budget));
}

Result<std::optional<Stop>> Engine::Impl::without_block(Progress& progress, const Stop& stop) {
  if (progress.logs) return Stop{.reason = StopReason::kUnlogged};
  return watches_reads_ ? watched_step(progress) : far_return(progress, stop);
}

Result<std::optional<Stop>> Engine::Impl::enter(Progress& progress, Block& block, int64_t budget) {
  StatePage& state = cache_->state();
  Registers& guest = progress.registers;
  Registers machine = guest;
  state.r11 = guest.r11;
  machine.r11 = static_cast<uint64_t>(-budget);
  machine.rip = block.entry;
  machine.orig_rax = ~0ull;
  GuestAddress& x87_pointer = host_->translation_state().x87_pointer;
  state.x87_place = x87_pointer.value == 0 ? X87Places::kInHardware : X87Places::kUnchanged;
  auto& pointers = host_->translation_state().x87_pointers;
  std::copy(pointers.begin(), pointers.end(), state.x87_pointers);
  ++statistics_.host_stops;
  RCHK_TRY_ASSIGN(HostStop stop, host_->resume(machine));
  while (stop.signal == SIGSEGV && cache_->is_watched_load(stop.registers.rip)) {
    RCHK_TRY_ASSIGN(stop, forget_watched_word(stop));
  }
  std::copy(std::begin(state.x87_pointers), std::end(state.x87_pointers), pointers.begin());
  if (state.x87_place > X87Places::kUnchanged) {
    x87_pointer = {x87_places_.place(state.x87_place)};
  }
  const uint64_t orig_rax = guest.orig_rax;
  guest = stop.registers;
  guest.orig_rax = orig_rax;
  if (stop.signal != 0 && cache_->is_log_load(stop.registers.rip)) {
    return left_unlogged(progress, budget);
  }
  if (stop.signal != 0) return signalled(progress, stop, budget);
  guest.rax = stop.registers.orig_rax;
  guest.rcx = state.rcx;
  guest.r11 = state.r11;
  auto left = left_through_exit(progress, budget);
  if (store_.site(state.exit_site).kind == ExitKind::kX87Pointer) RCHK_TRY(settle_x87_pointer());
  return left;
}

// Puts the guest's FIP into the unit.
Result<void> Engine::Impl::settle_x87_pointer() {
  GuestAddress& pointer = host_->translation_state().x87_pointer;
  RCHK_TRY(host_->set_x87_pointer(pointer));
  pointer = {};
  return {};
}

void Engine::Impl::note_inline_hit(const Progress& progress, int64_t budget) {
  StatePage& state = cache_->state();
  if (state.hit_site == 0) return;
  const ExitSite& site = store_.site(state.hit_site);
  const int64_t since = static_cast<int64_t>(state.hit_count) + budget + site.count_delta;
  const uint32_t probe = site.is_watchpoint ? state.hit_probe_plus_1 - 1 : site.probe;
  last_hit_ = Hit{progress.retired + static_cast<uint64_t>(since), site.is_watchpoint, probe};
  state.hit_site = 0;
}

std::optional<Stop> Engine::Impl::left_through_exit(Progress& progress, int64_t budget) {
  StatePage& state = cache_->state();
  note_inline_hit(progress, budget);
  const uint32_t index = state.exit_site;
  const ExitSite& site = store_.site(index);
  const int64_t since = static_cast<int64_t>(state.count) + budget + site.count_delta;
  RCHK_CHECK(since >= 0 && progress.retired + static_cast<uint64_t>(since) <= progress.limit,
             "exit {} after {} of {}", index, since, progress.limit - progress.retired);
  progress.retired += static_cast<uint64_t>(since);
  progress.registers.rip = site.kind == ExitKind::kIndirect ? state.target : site.pc;
  switch (site.kind) {
    case ExitKind::kIndirect:
      missed_indirect_ = true;
      break;
    case ExitKind::kDirect:
      last_direct_exit_ = index;
      break;
    case ExitKind::kCandidate:
      if (state_matches(progress.registers)) return Stop{.reason = StopReason::kStateCandidate};
      progress.counts_here = false;
      break;
    case ExitKind::kWatchStop: {
      if (site.pc == 0) progress.registers.rip = state.target;
      Stop stop{.reason = StopReason::kWatchpoint};
      stop.probe = state.hit_probe_plus_1 - 1;
      return stop;
    }
    case ExitKind::kStale:
      ++statistics_.invalidations;
      store_.remove(*site.owner);
      progress.counts_here = since != 0 || counted_here_;
      break;
    case ExitKind::kX87Pointer:
      progress.counts_here = false;
      break;
    case ExitKind::kLook:
      progress.look_once = true;
      progress.counts_here = false;  // its probes come before it, in the block that was left
      break;
    case ExitKind::kArrive:
      stopped_in_ = site.owner;
      break;
    case ExitKind::kRememberedHit:
    case ExitKind::kLogged:
      RCHK_CHECK(false, "a hit is no exit");
  }
  return std::nullopt;
}

Result<std::optional<Stop>> Engine::Impl::signalled(Progress& progress, const HostStop& stop,
                                                    int64_t budget) {
  StatePage& state = cache_->state();
  Registers& guest = progress.registers;
  uint64_t at = stop.registers.rip;
  // A trap comes with pc behind its instruction, which may be the block's next one already.
  const bool trap = stop.signal == SIGTRAP;
  const Block* block = store_.at(trap ? at - 1 : at);
  if (block == nullptr) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("signal {} at {:#x}, outside of translated code", stop.signal, at));
  }
  const uint32_t offset = static_cast<uint32_t>((trap ? at - 1 : at) - block->entry);
  const InstructionRecord* record = nullptr;
  for (const InstructionRecord& candidate : block->records) {
    if (candidate.cache_offset > offset) break;
    record = &candidate;
  }
  if (record == nullptr) {
    return fail(ErrorKind::kUnsupported,
                fmt::format("signal {} at {:#x}, between guest instructions", stop.signal, at));
  }
  const uint64_t counter = record->r11_is_guest ? state.count : guest.r11;
  if (!record->r11_is_guest) guest.r11 = state.r11;
  if (record->rcx_spilled) guest.rcx = state.rcx;
  if (record->far == FarOperand::kRsi) guest.rsi = state.lent;
  if (record->far == FarOperand::kRdi) guest.rdi = state.lent;
  if (record->far == FarOperand::kRbx) guest.rbx = state.lent;
  note_inline_hit(progress, budget);
  progress.retired +=
      static_cast<uint64_t>(static_cast<int64_t>(counter) + budget + record->count_delta);
  guest.rip = block->key.pc + static_cast<uint64_t>(int64_t{record->pc_delta});
  if (record->flags_saved) {
    // A word of the state probe is not mapped: no match, and the guest knows nothing of it.
    guest.rax = state.rax;
    guest.rflags = unpacked_flags(guest.rflags, state.flags);
    progress.counts_here = false;
    return std::nullopt;
  }
  if (record->traps) {
    std::array<uint8_t, 16> buffer{};
    Instruction instruction;
    const auto code = pages_.fetch(*host_, {guest.rip}, buffer);
    decode(code.bytes, code.count, instruction);
    guest.rip += instruction.length;
    ++progress.retired;
  }
  if (stop.signal == SIGSEGV) {
    RCHK_TRY_ASSIGN(const bool ours, code_written(progress, stop.fault_address));
    if (ours) return std::nullopt;
  }
  Stop result{.reason = StopReason::kFault};
  result.signal = stop.signal;
  result.signal_code = stop.signal_code;
  result.fault_address = stop.fault_address;
  if (stop.signal == SIGILL || stop.signal == SIGFPE) result.fault_address = guest.pc();
  return result;
}

std::optional<Stop> Engine::Impl::probe_here(Progress& progress, uint64_t left) {
  const uint64_t pc = progress.registers.rip;
  if (state_probe(pc) != nullptr && state_matches(progress.registers)) {
    return Stop{.reason = StopReason::kStateCandidate};
  }
  const auto found = breakpoints_.find(pc);
  if (found == breakpoints_.end()) return std::nullopt;
  if (probes_.policy == HitPolicy::kStop) {
    Stop stop{.reason = StopReason::kBreakpoint};
    stop.probe = found->second;
    return stop;
  }
  // A block counts the hit itself; a partial one, which begins here, does not.
  static_cast<void>(left);
  last_hit_ = Hit{progress.retired, false, found->second};
  return std::nullopt;
}

bool Engine::Impl::state_matches(const Registers& registers) {
  const StateProbe& probe = *probes_.state;
  Registers expected = probe.expected;
  if (probe.inside_rep) {
    expected.rcx = registers.rcx;
    expected.rsi = registers.rsi;
    expected.rdi = registers.rdi;
    expected.rflags = registers.rflags;
  }
  if (!same_guest_state(expected, registers)) return false;
  for (const WordProbe& word : probe.words) {
    uint64_t value = 0;
    std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&value), sizeof(value));
    if (host_->read_memory(word.address, bytes) != sizeof(value) || value != word.expected) {
      return false;
    }
  }
  return true;
}

}  // namespace rchk::translate
