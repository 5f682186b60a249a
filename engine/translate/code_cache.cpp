#include "engine/translate/code_cache.h"

#include <algorithm>
#include <atomic>

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

namespace rchk::translate {

namespace {

// Arenas stay this far inside the reach of a 32-bit displacement, where there is room, so that the
// operands of the code they copy, which lie around it, are reached as well.
constexpr uint64_t kReach = (2ull << 30) - (320ull << 20);

// Where code had no room for an arena near it: by parts of memory of this size.
constexpr unsigned kCrowdedShift = 24;

// Engines of one process must be told apart in what they leave in hosts; the number names a
// layout and no state hangs on it.
uint64_t next_layout() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

bool in_reach(const Arena& arena, uint64_t pc) {
  const uint64_t low = std::min(arena.address, pc);
  const uint64_t high = std::max(arena.address + kArenaBytes, pc);
  return high - low < kReach;
}

}  // namespace

Result<std::unique_ptr<CodeCache>> CodeCache::create() {
  std::unique_ptr<CodeCache> cache(new CodeCache());
  cache->memfd_ = FileDescriptor(memfd_create("rchk-code-cache", MFD_CLOEXEC));
  if (!cache->memfd_.is_open()) return fail_errno("creating the code cache");
  RCHK_TRY(cache->grow_file(kBaseBytes));
  void* base =
      mmap(nullptr, kBaseBytes, PROT_READ | PROT_WRITE, MAP_SHARED, cache->memfd_.get(), 0);
  if (base == MAP_FAILED) return fail_errno("mapping the code cache");
  cache->base_bytes_ = static_cast<uint8_t*>(base);
  cache->layout_ = next_layout();
  return cache;
}

CodeCache::~CodeCache() {
  if (base_bytes_ != nullptr) munmap(base_bytes_, kBaseBytes);
  for (const auto& arena : arenas_) munmap(arena->bytes, kArenaBytes);
}

Result<void> CodeCache::grow_file(uint64_t bytes) {
  // A whole number of pages, so that offsets of what follows are.
  file_bytes_ += (bytes + kPageSize - 1) & ~(kPageSize - 1);
  if (ftruncate(memfd_.get(), static_cast<off_t>(file_bytes_)) != 0) {
    return fail_errno("growing the code cache");
  }
  return {};
}

uint64_t* CodeCache::table(unsigned which) {
  return reinterpret_cast<uint64_t*>(base_bytes_ + branch_table_offset(which));
}

// Within the first 2 GiB, where absolute addresses of 32 bits reach, unless the guest has them all.
void CodeCache::choose_base(Host& host) {
  const auto found = host.free_range_near(range_of({0x10000}, kPageSize), kBaseBytes);
  if (found && found->value + kBaseBytes <= 0x7fff0000ull) {
    base_place_ = BasePlace::kLow;
    low_base_ = found->value;
  } else {
    base_place_ = BasePlace::kBeside;
  }
}

Result<void> CodeCache::map_base(Host& host, uint64_t address) {
  const AddressRange writable = range_of({address}, kWritableBytes);
  const AddressRange tables = {writable.end, {address + kBaseBytes}};
  std::vector<AddressRange>& mapped = host.translation_state().mapped;
  RCHK_TRY(
      host.map_shared(writable.begin, writable.size(), memfd_.get(), 0, PROT_READ | PROT_WRITE));
  mapped.push_back(writable);
  RCHK_TRY(host.map_shared(tables.begin, tables.size(), memfd_.get(), kWritableBytes, PROT_READ));
  mapped.push_back(tables);
  return {};
}

Result<void> CodeCache::unmap_from(Host& host) {
  HostTranslationState& known = host.translation_state();
  for (const AddressRange& range : known.mapped) RCHK_TRY(host.unmap(range));
  known.mapped.clear();
  known.arenas_mapped = 0;
  known.base_mapped = false;
  known.layout = layout_;
  return {};
}

Result<void> CodeCache::map_into(Host& host) {
  HostTranslationState& known = host.translation_state();
  if (known.layout != layout_) RCHK_TRY(unmap_from(host));
  if (base_place_ == BasePlace::kNotChosen) choose_base(host);
  if (base_place_ == BasePlace::kLow && !known.base_mapped) {
    RCHK_TRY(map_base(host, low_base_));
    known.base_mapped = true;
  }
  while (known.arenas_mapped < arenas_.size()) {
    const Arena& arena = *arenas_[known.arenas_mapped];
    if (arena.state.is_beside) RCHK_TRY(map_base(host, arena.state.address));
    RCHK_TRY(host.map_shared({arena.address}, kArenaBytes, memfd_.get(), arena.file_offset,
                             PROT_READ | PROT_EXEC));
    known.mapped.push_back(arena.range());
    ++known.arenas_mapped;
  }
  return {};
}

std::optional<GuestAddress> CodeCache::room_for_arena(Host& host, GuestAddress pc) {
  const uint64_t part = pc.value >> kCrowdedShift;
  if (crowded_.count(part) == 0) {
    const auto near =
        host.free_range_near(range_of(pc.page_floor(), kPageSize), arena_room_bytes());
    if (near) return near;
    crowded_.insert(part);
  }
  if (!arenas_.empty()) return std::nullopt;
  constexpr uint64_t kStep = 1ull << 36;
  constexpr uint64_t kUserEnd = 1ull << 47;
  for (uint64_t at = kStep; at < kUserEnd; at += kStep) {
    const auto found = host.free_range_near(range_of({at}, kPageSize), arena_room_bytes());
    if (found) return found;
  }
  return std::nullopt;
}

Result<Arena*> CodeCache::arena_for(Host& host, GuestAddress pc) {
  for (const auto& arena : arenas_) {
    if (in_reach(*arena, pc.value)) return arena.get();
  }
  RCHK_TRY(map_into(host));  // the cache may have moved away since the host was attached
  const auto found = room_for_arena(host, pc);
  if (!found && !arenas_.empty()) return arenas_.front().get();
  if (!found) return fail(ErrorKind::kUnsupported, "no room for a code cache in the address space");
  auto arena = std::make_unique<Arena>();
  arena->index = static_cast<uint32_t>(arenas_.size());
  if (base_place_ == BasePlace::kBeside) {
    arena->state = {found->value, true};
    arena->address = found->value + kBaseBytes;
  } else {
    arena->state = {low_base_, false};
    arena->address = found->value;
  }
  arena->file_offset = file_bytes_;
  RCHK_TRY(grow_file(kArenaBytes));
  void* bytes = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(),
                     static_cast<off_t>(arena->file_offset));
  if (bytes == MAP_FAILED) return fail_errno("mapping the code cache");
  arena->bytes = static_cast<uint8_t*>(bytes);
  emit_routines(*arena);
  const bool first = arenas_.empty();
  arenas_.push_back(std::move(arena));
  RCHK_TRY(map_into(host));
  if (first) reset();
  return arenas_.back().get();
}

Arena* CodeCache::arena_at(uint64_t address) {
  for (const auto& arena : arenas_) {
    if (arena->range().contains(GuestAddress{address})) return arena.get();
  }
  return nullptr;
}

bool CodeCache::overlaps(AddressRange range) const {
  if (base_place_ == BasePlace::kLow && range.overlaps(range_of({low_base_}, kBaseBytes))) {
    return true;
  }
  for (const auto& arena : arenas_) {
    if (range.overlaps(arena->whole_range())) return true;
  }
  return false;
}

Result<void> CodeCache::move_away(Host& host) {
  RCHK_TRY(unmap_from(host));
  for (const auto& arena : arenas_) munmap(arena->bytes, kArenaBytes);
  arenas_.clear();
  file_bytes_ = (kBaseBytes + kPageSize - 1) & ~(kPageSize - 1);
  base_place_ = BasePlace::kNotChosen;
  crowded_.clear();
  layout_ = next_layout();
  return {};
}

void CodeCache::emit_routines(Arena& arena) {
  Emitter out(arena.bytes, arena.address, arena.state);
  arena.indirect_miss = out.here();
  out.store_imm32(offsetof(StatePage, exit_site), 0);
  uint8_t* to_leave = out.jump_short();
  arena.leave = out.here();
  out.store(offsetof(StatePage, rcx), kRcx);
  out.bind_short(to_leave);
  arena.leave_rcx_saved = out.here();
  out.store(offsetof(StatePage, count), kR11);
  out.bytes(0x0f, 0x05);  // syscall: the cheapest stop there is
  out.bytes(0x0f, 0x0b);
  emit_compare_watched(arena, out);
  emit_log_step(arena, out);
  arena.used = (out.size() + 63) & ~uint64_t{63};
  arena.cold_used = kColdOffset;
  arena.literals_used = kLiteralOffset;
}

// Entered behind a store, with the guest's rcx saved, StatePage::return_to and watch_site set, and
// the counter in r11. Compares every watched word with its last value.
void CodeCache::emit_compare_watched(Arena& arena, Emitter& out) {
#define SLOT(name) offsetof(StatePage, name)
  auto restore = [&] {
    out.load(kRdx, SLOT(scratch));
    out.load(kRsi, SLOT(scratch) + 8);
    out.load(kRax, SLOT(flags));
    out.bytes(0x04, 0x7f, 0x9e);  // add al, 127; sahf
    out.load(kRax, SLOT(rax));
  };
  arena.compare_watched = out.here();
  out.store(SLOT(count), kR11);
  out.store(SLOT(rax), kRax);
  out.bytes(0x9f, 0x0f, 0x90, 0xc0);  // lahf; seto al
  out.store(SLOT(flags), kRax);
  out.store(SLOT(scratch), kRdx);
  out.store(SLOT(scratch) + 8, kRsi);
  out.slot_address(kRsi, kWatchListOffset);
  out.bytes(0x31, 0xc9);  // xor ecx, ecx
  const uint64_t again = out.here();
  out.bytes(0x48, 0x8b, 0x06, 0x48, 0x85, 0xc0);  // mov rax, [rsi]; test rax, rax
  uint8_t* done = out.jump_short_if(kEqual);
  arena.compare_watched_load = out.here();
  out.bytes(0x48, 0x8b, 0x00, 0x48, 0x89, 0xc2);  // mov rax, [rax]; mov rdx, rax
  out.bytes(0x48, 0x33, 0x46, 0x10);              // xor rax, [rsi + value]
  out.bytes(0x48, 0x23, 0x46, 0x08);              // and rax, [rsi + mask]
  uint8_t* same = out.jump_short_if(kEqual);
  out.bytes(0x48, 0x89, 0x56, 0x10);  // mov [rsi + value], rdx
  out.bytes(0x8b, 0x4e, 0x18);        // mov ecx, [rsi + probe]
  out.bind_short(same);
  out.bytes(0x48, 0x83, 0xc6, 0x20);  // add rsi, 32
  out.jump(again);
  out.bind_short(done);
  out.bytes(0x85, 0xc9);  // test ecx, ecx
  uint8_t* no_hit = out.jump_short_if(kEqual);
  out.store32(SLOT(hit_probe_plus_1), kRcx);
  out.load32(kRcx, SLOT(watch_remember));
  uint8_t* stop = out.jecxz();
  out.load(kRax, SLOT(count));
  out.store(SLOT(hit_count), kRax);
  out.load32(kRax, SLOT(watch_site));
  out.store32(SLOT(hit_site), kRax);
  out.bind_short(no_hit);
  restore();
  out.load(kRcx, SLOT(rcx));
  out.jump_slot(SLOT(return_to));
  out.bind_short(stop);
  out.load32(kRcx, SLOT(watch_site));
  out.bytes(0x8d, 0x49, 0x01);  // lea ecx, [rcx + 1]
  out.store32(SLOT(exit_site), kRcx);
  restore();
  out.jump(arena.leave_rcx_saved);
#undef SLOT
}

// Entered in front of an instruction, with the guest's rax and rcx saved, StatePage::return_to and
// log_site set, rcx the address that it may store to, or 0, and the counter in r11.
void CodeCache::emit_log_step(Arena& arena, Emitter& out) {
#define SLOT(name) offsetof(StatePage, name)
  // mov [r11 + offset], from
  const auto log = [&](Register from, size_t offset) {
    out.bytes(0x49 | (from >> 3) << 2, 0x89, 0x80 | (from & 7) << 3 | 3);
    out.dword(static_cast<uint32_t>(offset));
  };
  const auto log_register = [&](Register from, unsigned number) {
    log(from, offsetof(LoggedStep, registers) + number * sizeof(uint64_t));
  };
  arena.log_step = out.here();
  out.bytes(0x9f, 0x0f, 0x90, 0xc0);  // lahf; seto al
  out.store(SLOT(flags), kRax);
  out.store(SLOT(count), kR11);
  out.slot_address(kR11, kStepLogOffset);
  out.load(kRax, SLOT(log_used));
  out.bytes(0x4d, 0x8d, 0x1c, 0x03);  // lea r11, [r11 + rax]
  for (unsigned number = 0; number < 16; ++number) {
    const auto from = static_cast<Register>(number);
    if (from != kRax && from != kRcx && from != kR11) log_register(from, number);
  }
  const auto log_slot = [&](size_t slot, size_t offset) {
    out.load(kRax, slot);
    log(kRax, offset);
  };
  const auto place_of = [](Register number) {
    return offsetof(LoggedStep, registers) + number * sizeof(uint64_t);
  };
  log_slot(SLOT(rax), place_of(kRax));
  log_slot(SLOT(rcx), place_of(kRcx));
  log_slot(SLOT(r11), place_of(kR11));
  log_slot(SLOT(flags), offsetof(LoggedStep, flags));
  log_slot(SLOT(count), offsetof(LoggedStep, count));
  out.load32(kRax, SLOT(log_site));
  log(kRax, offsetof(LoggedStep, site));
  log(kRcx, offsetof(LoggedStep, store));
  uint8_t* no_store = out.jrcxz();
  out.bytes(0x48, 0x89, 0xc8);  // mov rax, rcx
  for (unsigned word = 0; word < 2; ++word) {
    if (word == 1) out.bytes(0x48, 0x8d, 0x41, 0x07);  // lea rax, [rcx + 7]
    out.bytes(0x48, 0x83, 0xe0, 0xf8);                 // and rax, -8
    arena.log_load[word] = out.here();
    out.bytes(0x48, 0x8b, 0x00);  // mov rax, [rax]
    log(kRax, offsetof(LoggedStep, old) + word * sizeof(uint64_t));
  }
  out.bind_short(no_store);
  out.load(kRax, SLOT(log_used));
  out.bytes(0x48, 0x05);  // add rax, imm32
  out.dword(sizeof(LoggedStep));
  out.store(SLOT(log_used), kRax);
  out.load(kR11, SLOT(count));
  out.load(kRcx, SLOT(rcx));
  out.load(kRax, SLOT(flags));
  out.bytes(0x04, 0x7f, 0x9e);  // add al, 127; sahf
  out.load(kRax, SLOT(rax));
  out.jump_slot(SLOT(return_to));
#undef SLOT
}

bool CodeCache::is_log_load(uint64_t address) const {
  return std::any_of(arenas_.begin(), arenas_.end(), [address](const auto& arena) {
    return arena->log_load[0] == address || arena->log_load[1] == address;
  });
}

bool CodeCache::is_watched_load(uint64_t address) const {
  for (const auto& arena : arenas_) {
    if (arena->compare_watched_load == address) return true;
  }
  return false;
}

void CodeCache::reset() {
  for (const auto& arena : arenas_) emit_routines(*arena);
  if (arenas_.empty()) return;
  for (unsigned which = 0; which < kBranchTables; ++which) {
    uint64_t* entries = table(which);
    for (uint64_t i = 0; i < kBranchTableEntries; ++i) entries[i] = arenas_[0]->indirect_miss;
  }
}

uint64_t CodeCache::used_bytes() const {
  uint64_t total = 0;
  for (const auto& arena : arenas_)
    total += arena->used + arena->cold_used - kColdOffset + arena->literals_used - kLiteralOffset;
  return total;
}

uint64_t CodeCache::fullest_left() const {
  uint64_t least = kArenaBytes;
  for (const auto& arena : arenas_) least = std::min(least, arena->left());
  return least;
}

}  // namespace rchk::translate
