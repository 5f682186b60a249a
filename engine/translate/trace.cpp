#include "engine/translate/trace.h"

#include <cstring>

#include "engine/translate/access.h"

namespace rchk::translate {

namespace {

bool runs_in_cache(InstructionClass kind) {
  return kind != InstructionClass::kSyscall && kind != InstructionClass::kTrapped &&
         kind != InstructionClass::kFarReturn && kind != InstructionClass::kUnsupported;
}

// What follows the conditional jump `step` in the trace; false when the trace ends with it.
bool follow_conditional(TraceStep& step, const TraceLimits& limits, uint64_t& pc) {
  const bool forward = step.target() > step.pc;
  std::optional<bool> mostly_taken;
  if (limits.profile != nullptr) mostly_taken = limits.profile->is_mostly_taken(step.pc);
  step.follows_target = forward && mostly_taken.value_or(false);
  pc = step.follows_target ? step.target() : step.next_pc();
  return forward || mostly_taken == false;
}

// What follows `step` in the trace; false when the trace ends with it.
bool follow(TraceStep& step, const TraceLimits& limits, Trace& trace, uint64_t& pc) {
  switch (step.instruction.kind) {
    case InstructionClass::kOrdinary:
    case InstructionClass::kInvalid:
    case InstructionClass::kTrap:
      pc = step.next_pc();
      return step.instruction.kind == InstructionClass::kOrdinary;
    case InstructionClass::kJump:
      if (step.target() > step.pc) {
        pc = step.target();
        return true;
      }
      break;
    case InstructionClass::kConditionalJump:
      if (follow_conditional(step, limits, pc)) return true;
      break;
    default:
      break;
  }
  trace.end = TraceEnd::kBranch;
  return false;
}

void find_live_flags(Trace& trace, const TraceLimits& limits) {
  uint8_t live = kAllFlags;
  for (auto step = trace.steps.rbegin(); step != trace.steps.rend(); ++step) {
    const Instruction& instruction = step->instruction;
    if (!instruction.pure || (limits.flags_seen_at && limits.flags_seen_at(step->pc))) {
      live = kAllFlags;  // what it leaves behind, a fault or an exit, shows them all
    } else {
      live = static_cast<uint8_t>((live & ~instruction.flags_killed) | instruction.flags_read);
    }
    step->live_flags = live;
  }
}

}  // namespace

void build_trace(CodePages& pages, Host& host, uint64_t pc, const TraceLimits& limits,
                 Trace& trace) {
  std::vector<TraceStep> steps = std::move(trace.steps);
  steps.clear();
  steps.reserve(kMaxBlockInstructions);
  trace = Trace{};
  trace.steps = std::move(steps);
  pages.begin_trace();
  bool open = true;
  while (open && trace.steps.size() < limits.instructions) {
    const bool first = trace.steps.empty();
    if (!first && limits.ends_before && limits.ends_before(pc)) {
      trace.end = TraceEnd::kStopBefore;
      break;
    }
    TraceStep& step = trace.steps.emplace_back();
    step.pc = pc;
    std::array<uint8_t, 16> buffer{};
    const CodePages::Fetched code = pages.fetch(host, {pc}, buffer);
    if (code.count == 0 ||
        decode(code.bytes, code.count, step.instruction) == DecodeStatus::kTruncated) {
      trace.end = TraceEnd::kStopBefore;
      if (first) {
        trace.fetch_fault = true;
        trace.fault_address = code.fault;
        trace.fault_code = code.fault_code;
      }
      trace.steps.pop_back();
      break;
    }
    if (!runs_in_cache(step.instruction.kind)) {
      trace.end = TraceEnd::kStopBefore;
      if (first) {
        trace.special = step.instruction.kind;
        trace.detail = step.instruction.detail;
      }
      trace.steps.pop_back();
      break;
    }
    std::memcpy(step.bytes.data(), code.bytes, step.instruction.length);
    open = follow(step, limits, trace, pc);
    if (pages.page(host, {step.pc}).checks_itself) {
      trace.code_may_change = true;
      open = open && store_kind(step.instruction) == StoreKind::kNone;
    }
  }
  trace.next_pc = pc;
  find_live_flags(trace, limits);
}

}  // namespace rchk::translate
