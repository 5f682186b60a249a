#include <algorithm>
#include <cstring>

#include "engine/translate/engine_impl.h"

// Watchpoints: the lists that emitted code goes by, and the slow way for those that want loads.
namespace rchk::translate {

// Sets up the filter. Watched words are read at the start of each run.
Result<void> Engine::Impl::set_watchpoints(const std::vector<Watchpoint>& watchpoints) {
  std::memset(cache_->watch_filter(), 0, kWatchFilterBytes);
  uint64_t words = 0;
  for (const Watchpoint& watch : watchpoints) {
    if (watch.range.empty()) continue;
    words += (watch.range.size() + 14) / 8;
    // A store of 64 bytes that ends in the range may begin in the granule before it.
    const uint64_t first = (watch.range.begin.value - 63) >> kWatchGranuleShift;
    const uint64_t last = (watch.range.end.value - 1) >> kWatchGranuleShift;
    if (last - first >= kWatchFilterBytes) {
      std::memset(cache_->watch_filter(), 1, kWatchFilterBytes);
      continue;
    }
    for (uint64_t granule = first; granule <= last; ++granule) {
      cache_->watch_filter()[granule % kWatchFilterBytes] = 1;
    }
  }
  if ((words + 1) * sizeof(WatchedWord) > kWatchListBytes) {
    return fail(ErrorKind::kUnsupported, "more than 60,000 bytes are watched");
  }
  const bool reads =
      std::any_of(watchpoints.begin(), watchpoints.end(),
                  [](const Watchpoint& watch) { return watch.kind != WatchKind::kWrite; });
  if (reads != watches_reads_) flush();  // other code is emitted for that
  watches_reads_ = reads;
  return {};
}

// Notes what is in the watched words now. What cannot be read is left out: nothing can be stored
// there before a system call has changed the mapping, and that ends a run.
void Engine::Impl::read_watched() {
  WatchedWord* next = cache_->watched_words();
  // Emitted code keeps the last hit of the list: the first watchpoint comes last.
  for (size_t i = probes_.watchpoints.size(); i-- > 0;) {
    const Watchpoint& watch = probes_.watchpoints[i];
    for (uint64_t word = watch.range.begin.value & ~uint64_t{7}; word < watch.range.end.value;
         word += 8) {
      WatchedWord entry;
      entry.address = word;
      entry.probe_plus_1 = i + 1;
      std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&entry.value), sizeof(entry.value));
      if (host_->read_memory({word}, bytes) != sizeof(entry.value)) continue;
      for (uint64_t byte = 0; byte < 8; ++byte) {
        if (watch.range.contains(GuestAddress{word + byte})) entry.mask |= 0xffull << (8 * byte);
      }
      *next++ = entry;
    }
  }
  *next = WatchedWord{};
  cache_->state().watch_remember = probes_.policy == HitPolicy::kRemember ? 1 : 0;
}

// The compare routine could not read a word: it watches a harmless one instead from now on.
Result<HostStop> Engine::Impl::forget_watched_word(const HostStop& stop) {
  Registers machine = stop.registers;
  const uint64_t base = cache_->arena_at(machine.rip)->state.address;
  const uint64_t index = (machine.rsi - (base + kWatchListOffset)) / sizeof(WatchedWord);
  WatchedWord& word = cache_->watched_words()[index];
  word.address = base;
  word.mask = 0;
  machine.rax = word.address;
  machine.orig_rax = ~0ull;
  return host_->resume(machine);
}

// The first watchpoint that an instruction hit which accessed `accesses` and has just been run.
std::optional<uint32_t> Engine::Impl::watch_hit(const std::vector<MemoryAccess>& accesses) {
  std::optional<uint32_t> hit;
  for (uint32_t i = 0; i < probes_.watchpoints.size() && !hit; ++i) {
    const Watchpoint& watch = probes_.watchpoints[i];
    for (const MemoryAccess& access : accesses) {
      const bool counts =
          watch.kind == WatchKind::kAccess || (watch.kind == WatchKind::kRead && access.reads);
      if (counts && access.range.overlaps(watch.range)) hit = i;
    }
  }
  for (WatchedWord* word = cache_->watched_words(); word->address != 0; ++word) {
    uint64_t now = 0;
    std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&now), sizeof(now));
    if (host_->read_memory({word->address}, bytes) != sizeof(now)) continue;
    const bool changed = ((now ^ word->value) & word->mask) != 0;
    word->value = now;
    const auto probe = static_cast<uint32_t>(word->probe_plus_1 - 1);
    if (changed && probes_.watchpoints[probe].kind != WatchKind::kRead && (!hit || probe < *hit)) {
      hit = probe;
    }
  }
  return hit;
}

// Runs one instruction and looks at what it accessed.
Result<std::optional<Stop>> Engine::Impl::watched_step(Progress& progress) {
  progress.look_once = false;
  progress.counts_here = true;
  last_direct_exit_ = 0;
  missed_indirect_ = false;
  const uint64_t before = progress.retired;
  std::vector<MemoryAccess> accesses;
  if (const auto step = step_at(progress.registers.pc())) {
    if (auto known = memory_accesses(*step, progress.registers)) accesses = std::move(*known);
  }
  RCHK_TRY_ASSIGN(const Entry entry, entry_for({progress.registers.rip, Flavour::kPartial, 1}, 1));
  std::optional<Stop> stop;
  if (entry.block == nullptr) {
    stop = far_return(progress, entry.stop);
  } else {
    RCHK_TRY_ASSIGN(stop, enter(progress, *entry.block, 0));
  }
  while (!stop && progress.store_once) {
    RCHK_TRY_ASSIGN(stop, store_to_code(progress));
    progress.counts_here = true;
  }
  missed_indirect_ = false;
  if (progress.retired == before) return stop;
  const auto hit = watch_hit(accesses);
  if (!hit) return stop;
  if (probes_.policy == HitPolicy::kRemember) {
    last_hit_ = Hit{before, true, *hit};
    return stop;
  }
  Stop watch_stop{.reason = StopReason::kWatchpoint};
  watch_stop.probe = *hit;
  return watch_stop;
}

std::optional<TraceStep> Engine::Impl::step_at(GuestAddress pc) {
  TraceStep step;
  std::array<uint8_t, 16> buffer{};
  const auto code = pages_.fetch(*host_, pc, buffer);
  if (code.count == 0 || decode(code.bytes, code.count, step.instruction) != DecodeStatus::kOk) {
    return std::nullopt;
  }
  step.pc = pc.value;
  std::memcpy(step.bytes.data(), code.bytes, step.instruction.length);
  return step;
}

}  // namespace rchk::translate
