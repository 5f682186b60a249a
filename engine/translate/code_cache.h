#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/types.h"
#include "engine/translate/emitter.h"
#include "engine/translate/host.h"
#include "engine/translate/state_page.h"

namespace rchk::translate {

inline constexpr uint64_t kArenaBytes = 64ull << 20;
inline constexpr uint64_t kColdOffset = kArenaBytes / 2;
inline constexpr uint64_t kLiteralOffset = kArenaBytes - (8ull << 20);

// Code cache memory near some guest code. `bytes` is the tracer's own view.
struct Arena {
  uint32_t index = 0;
  StateView state;
  uint64_t address = 0;  // in the puppet
  uint64_t file_offset = 0;
  uint8_t* bytes = nullptr;
  uint64_t used = 0;       // of the front part, for code that runs
  uint64_t cold_used = 0;  // of the back part, for stubs
  // Of the end, for the return addresses that calls push: data that runs hot, kept dense.
  uint64_t literals_used = 0;
  // Shared routines: leave to the tracer; leave with rcx already saved; an indirect jump missed.
  uint64_t leave = 0, leave_rcx_saved = 0, indirect_miss = 0;
  // Compares the watched words after a store; where it reads them.
  uint64_t compare_watched = 0, compare_watched_load = 0;
  // Logs the state in front of an instruction; where it reads what that may overwrite.
  uint64_t log_step = 0, log_load[2] = {};

  AddressRange range() const { return range_of({address}, kArenaBytes); }
  // The same, and the base in front of it if there is one.
  AddressRange whole_range() const {
    return {{state.is_beside ? state.address : address}, {address + kArenaBytes}};
  }
  uint64_t left() const {
    return std::min({kColdOffset - used, kLiteralOffset - cold_used, kArenaBytes - literals_used});
  }
  Emitter hot_emitter() const { return {bytes + used, address + used, state}; }
  Emitter cold_emitter() const { return {bytes + cold_used, address + cold_used, state}; }
  Emitter literal_emitter() const {
    return {bytes + literals_used, address + literals_used, state};
  }
  // Keep what was emitted.
  void take_hot(const Emitter& emitted) { used += (emitted.size() + 15) & ~size_t{15}; }
  void take_cold(const Emitter& emitted) { cold_used += emitted.size(); }
  void take_literals(const Emitter& emitted) { literals_used += emitted.size(); }
};

// The memory that translations live in: one memfd with the state page, the branch tables and the
// arenas, mapped by the tracer and by every host. Owns the mapping of it on the tracer's side and
// knows where it lies in hosts; a host maps what it lacks when it is attached.
//
//   room below 2 GiB:   [base] ...          [arena 0] ...          [arena 1]
//   none:                             [base][arena 0] ...    [base][arena 1]
//
// In the second case all that stands in front of arenas are views of the one base.
class CodeCache {
 public:
  static Result<std::unique_ptr<CodeCache>> create();
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  StatePage& state() { return *reinterpret_cast<StatePage*>(base_bytes_); }
  WatchedWord* watched_words() {
    return reinterpret_cast<WatchedWord*>(base_bytes_ + kWatchListOffset);
  }
  uint8_t* watch_filter() { return base_bytes_ + kWatchFilterOffset; }
  uint32_t* counters() const { return reinterpret_cast<uint32_t*>(base_bytes_ + kCountersOffset); }
  LoggedStep* logged_steps() { return reinterpret_cast<LoggedStep*>(base_bytes_ + kStepLogOffset); }
  // Whether a host's thread stopped where compare_watched reads, or where log_step does.
  bool is_watched_load(uint64_t address) const;
  bool is_log_load(uint64_t address) const;
  uint64_t* table(unsigned which);

  // Maps what the host lacks; drops from it what an engine laid out otherwise put there.
  Result<void> map_into(Host& host);
  // An arena for code at `pc`: in reach of it, if there is room for one; else some other. Makes
  // one, mapped into `host`, when there is none.
  Result<Arena*> arena_for(Host& host, GuestAddress pc);
  Arena* arena_at(uint64_t address);
  // Where indirect jumps go that find no landing. REQUIRES: there is an arena.
  uint64_t miss_address() const { return arenas_[0]->indirect_miss; }

  // True if the cache occupies a part of `range` in hosts.
  bool overlaps(AddressRange range) const;
  // Forgets where everything lies: the next map_into chooses again, around what it finds mapped.
  // REQUIRES: nothing refers to the cache's contents any more.
  Result<void> move_away(Host& host);

  // Empties arenas and tables.
  void reset();
  uint64_t used_bytes() const;
  // What is left in the fullest arena.
  uint64_t fullest_left() const;

 private:
  CodeCache() = default;
  Result<void> grow_file(uint64_t bytes);
  void choose_base(Host& host);
  Result<void> map_base(Host& host, uint64_t address);
  Result<void> unmap_from(Host& host);
  // For an arena, and its base where that lies beside it.
  std::optional<GuestAddress> room_for_arena(Host& host, GuestAddress pc);
  uint64_t arena_room_bytes() const {
    return kArenaBytes + (base_place_ == BasePlace::kBeside ? kBaseBytes : 0);
  }
  void emit_routines(Arena& arena);
  void emit_compare_watched(Arena& arena, Emitter& out);
  void emit_log_step(Arena& arena, Emitter& out);

  FileDescriptor memfd_;
  uint64_t file_bytes_ = 0;
  uint8_t* base_bytes_ = nullptr;
  enum class BasePlace : uint8_t { kNotChosen, kLow, kBeside } base_place_ = BasePlace::kNotChosen;
  uint64_t low_base_ = 0;  // of kLow
  uint64_t layout_ = 0;    // changes whenever addresses are given up
  std::vector<std::unique_ptr<Arena>> arenas_;
  std::set<uint64_t> crowded_;  // parts of memory without room for an arena in reach
};

}  // namespace rchk::translate
