#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/translate/block.h"
#include "engine/translate/code_pages.h"
#include "engine/translate/decode.h"
#include "engine/translate/edge_profile.h"

namespace rchk::translate {

// One guest instruction of a trace.
struct TraceStep {
  Instruction instruction;
  uint64_t pc = 0;
  std::array<uint8_t, 16> bytes{};
  uint8_t live_flags = kAllFlags;  // flags whose value before it may still be seen
  bool follows_target = false;     // of a conditional jump: the trace goes on where it leads

  uint64_t next_pc() const { return pc + instruction.length; }
  uint64_t target() const { return next_pc() + static_cast<uint64_t>(instruction.immediate); }
};

// How a trace ends.
enum class TraceEnd : uint8_t {
  kFallThrough,  // goes on at `next_pc`
  kStopBefore,   // at `next_pc` is something that translations do not run: never linked
  kBranch,       // the last step leaves it
};

struct Trace {
  std::vector<TraceStep> steps;
  TraceEnd end = TraceEnd::kFallThrough;
  uint64_t next_pc = 0;
  bool code_may_change = false;  // nothing keeps the guest from changing its code
  // Of an empty trace: why the first instruction cannot be run.
  InstructionClass special = InstructionClass::kOrdinary;
  const char* detail = "";
  bool fetch_fault = false;
  GuestAddress fault_address;
  int fault_code = 0;
};

struct TraceLimits {
  unsigned instructions = kMaxBlockInstructions;
  // Whether a trace must end in front of `pc`: a breakpoint that stops, say.
  std::function<bool(uint64_t pc)> ends_before;
  // Whether flags at `pc` are looked at by other than the guest's code.
  std::function<bool(uint64_t pc)> flags_seen_at;
  // Which way conditional jumps go, where that is known; null for a trace that is not to know it.
  const EdgeProfile* profile = nullptr;
};

// Follows guest code from `pc` through forward jumps and conditional branches: the way they mostly
// go, where not taken if that is not known, and never backwards. Where code may change at any time
// a trace ends behind each store.
// Makes `trace` anew; its memory is used again.
void build_trace(CodePages& pages, Host& host, uint64_t pc, const TraceLimits& limits,
                 Trace& trace);

}  // namespace rchk::translate
