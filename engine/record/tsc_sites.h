#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/types.h"

namespace rchk::record {

// The time stamp counter as a line over CLOCK_MONOTONIC_RAW, which a program can read without a
// trap (docs/notes/agent.md, "The counter").
struct TscScale {
  uint64_t since_ns = 0;  // of the clock
  uint64_t ticks = 0;     // of the counter then
  uint64_t rate = 0;      // ticks in a nanosecond, times 2^32

  uint64_t at(uint64_t clock_ns) const;
  uint64_t now() const;
};

// Both at one moment, within some 100 ns. REQUIRES: RDTSC does not trap in the caller.
struct TscSample {
  uint64_t clock_ns = 0, ticks = 0;
  static TscSample take();
};

// The line that goes through both, and on from `now`: what it says then is no less than what the
// counter has said before. None if they lie too close together to tell.
std::optional<TscScale> scale_of(const TscSample& start, const TscSample& now);

// An RDTSC or RDTSCP whose place a jump can take, with what follows it as far as the jump reaches.
struct TscSite {
  GuestAddress at;
  Bytes code;               // its own, and of what follows it: whole instructions
  size_t length = 0;        // of RDTSC or RDTSCP itself
  bool tells_core = false;  // RDTSCP

  static constexpr size_t kJumpBytes = 5;
  AddressRange range() const { return range_of(at, code.size()); }
  // Where no task may stand, and nothing may lead to.
  AddressRange middle() const { return {at + 1, at + code.size()}; }

  // Null if it is something else, or is followed by something that has to stay where it is. `code`:
  // what lies at `at`.
  static std::optional<TscSite> find(GuestAddress at, std::span<const uint8_t> code);
  // What follows it, for another place. None if it cannot reach from there what it does from here.
  std::optional<Bytes> followers_at(GuestAddress place) const;
};

// Whether a direct jump or call in `code`, which lies at `begin`, may lead to `middle`. Each byte
// counts as one that may begin an instruction.
bool may_lead_to(std::span<const uint8_t> code, GuestAddress begin, AddressRange middle);

}  // namespace rchk::record
