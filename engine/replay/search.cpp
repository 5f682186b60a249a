// Segments that end in a state: looking for it, and going over it.

#include <algorithm>
#include <utility>

#include "engine/replay/segment.h"

namespace rchk::replay {

using translate::StopReason;

Result<uint64_t> Replayer::most_instructions_before(EventNumber number) {
  // Some eight a cycle, at 6 GHz.
  constexpr uint64_t kMostPerNanosecond = 48;
  constexpr uint64_t kFarthestEvent = 10000;  // behind it, the bound is a wide one
  RCHK_TRY_ASSIGN(const auto event, source_.event(number));
  uint64_t since_ns = 0;
  const uint64_t farthest = number.value - std::min(number.value, kFarthestEvent);
  for (uint64_t before = number.value; before-- > farthest;) {
    RCHK_TRY_ASSIGN(const auto other, source_.event({before}));
    if (other->tid != event->tid || is_without_snapshot(*other, {before})) continue;
    since_ns = other->time_ns;
    break;
  }
  return (event->time_ns - std::min(since_ns, event->time_ns)) * kMostPerNanosecond;
}

// Looks for the state that ends the segment.
Result<std::optional<Outcome>> Replayer::search_state(Guest& guest, const AdvanceRequest& request,
                                                      const Segment& segment, bool report_at_start,
                                                      uint64_t& budget) {
  const StateTarget& target = segment.target();
  StateMatcher matcher(target, *engine_);
  // A state at a system call instruction needs no search: that instruction ends the segment, so the
  // guest comes to it once. Nor would it be found by its registers: the recorded guest may have
  // executed the instruction, which overwrites rcx and r11, before the recorder took the call back.
  const bool at_syscall = stands_at_syscall(target.registers, guest);
  const bool limit_is_here =
      request.limit.event == guest.position.event && request.limit.anchor == guest.position.anchor;
  const bool moved = guest.position.instructions != 0 || guest.position.rep_iterations != 0;
  bool include_start = report_at_start && (moved || !guest.is_amid);
  bool reports = include_start;  // a breakpoint where the guest is
  bool look_here = !include_start && guest.registers.pc() == target.registers.pc();
  std::optional<Outcome> outcome;
  uint64_t most = 1ull << 62;
  if (segment.anchor == nullptr && !at_syscall) {
    RCHK_TRY_ASSIGN(most, most_instructions_before(guest.position.event.next()));
  }
  for (;;) {
    if (guest.position.instructions > most) {
      return divergence(
          guest, fmt::format("the recorded state at pc {} was not found ({} candidates) within as "
                             "many instructions as the recorded time allows, {}\n",
                             target.registers.pc(), matcher.candidates(), most));
    }
    translate::Probes probes = probes_;
    if (!at_syscall) probes.state = matcher.probe();
    RCHK_TRY(engine_->set_probes(probes));
    uint64_t stretch = budget;
    if (limit_is_here) {
      stretch = std::min(stretch, request.limit.instructions - guest.position.instructions);
    }
    if (stretch == 0) break;
    stretch = std::min(stretch, most + 1 - guest.position.instructions);
    translate::Stop stop;
    if (std::exchange(look_here, false) && !at_syscall) {
      // A run that is not to report where it starts would pass over it.
      stop.reason = StopReason::kStateCandidate;
    } else {
      RCHK_TRY_ASSIGN(stop, run_engine(guest, stretch, include_start));
      budget -= std::min(budget, stop.retired);
      reports |= stop.retired > 0;
    }
    include_start = false;
    if (stop.reason == StopReason::kInstructionLimit) {
      if (guest.position.instructions > most) continue;
      break;
    }
    if (stop.reason == StopReason::kStateCandidate) {
      RCHK_TRY_ASSIGN(const auto match, matcher.examine(guest));
      if (!match) continue;
      const StateDistance distance{guest.position.instructions, match->rep_iterations};
      if (begins_instruction(guest, distance) && reports) {
        const auto hit = breakpoint_at(probes_, guest.registers.pc());
        if (hit && probes_.policy == translate::HitPolicy::kStop) {
          outcome = Outcome{AdvanceStop::kBreakpoint, *hit, false, {}};
          break;
        }
        if (hit) last_hit_ = FoundHit{guest.position, false, *hit};
      }
      RCHK_TRY_ASSIGN(outcome, at_state(guest, request, segment, distance));
      break;
    }
    outcome = probe_outcome(guest, stop);
    if (outcome) break;
    if (target.at_wild_branch) {
      // No branch: it faults by itself.
      RCHK_TRY_ASSIGN(outcome, at_engine_stop(guest, request, segment, stop));
      break;
    }
    if (at_syscall && stop.reason == StopReason::kSyscall) {
      RCHK_TRY_ASSIGN(outcome, at_state(guest, request, segment, {guest.position.instructions, 0}));
      break;
    }
    return divergence(
        guest, describe_stop(stop) + fmt::format(" before the recorded state at pc {} was found "
                                                 "({} candidates)\n",
                                                 target.registers.pc(), matcher.candidates()));
  }
  RCHK_TRY(engine_->set_probes(probes_));
  return outcome;
}

// The guest has come to the instruction of the state that ends the segment, or on to its iteration
// of a string instruction.
Result<std::optional<Outcome>> Replayer::at_state(Guest& guest, const AdvanceRequest& request,
                                                  const Segment& segment, StateDistance distance) {
  Position& at = guest.position;
  if (segment.anchor != nullptr) {
    segment.anchor->segment_instructions = distance.instructions;
    segment.anchor->segment_rep_iterations = distance.rep_iterations;
  } else {
    distances_[at.event.next().value] = distance;
    restored_target_.reset();
  }
  const bool limit_is_here = request.limit.event == at.event && request.limit.anchor == at.anchor;
  const bool limit_is_inside = limit_is_here && request.limit.instructions == at.instructions &&
                               request.limit.rep_iterations < distance.rep_iterations &&
                               at.rep_iterations <= request.limit.rep_iterations;
  if (limit_is_inside) return std::optional<Outcome>();  // the caller goes on to it
  std::optional<uint32_t> written;                       // the watchpoint
  if (distance.rep_iterations > at.rep_iterations) {
    RCHK_TRY(engine_->attach(*guest.puppet));
    const std::vector<WatchedBytes> watched = watched_before(guest);
    RCHK_TRY(
        engine_->run_rep_iterations(guest.registers, distance.rep_iterations - at.rep_iterations));
    written = watched_change(guest, watched);
    if (written) last_hit_ = FoundHit{{at.event, at.anchor, at.instructions, 0}, true, *written};
    at.rep_iterations = distance.rep_iterations;
  }
  RCHK_TRY(StateMatcher::store_ahead(segment.target(), guest, *engine_));
  if (written && probes_.policy == translate::HitPolicy::kStop) {
    return std::optional<Outcome>(Outcome{AdvanceStop::kWatchpoint, *written, false, {}});
  }
  if (segment.anchor == nullptr) {
    // A limit inside of this segment that lies behind its end means its end.
    if (limit_is_here) return std::optional<Outcome>(Outcome{AdvanceStop::kLimit});
    return take_event(guest, *segment.event);
  }
  const StateTarget& target = segment.anchor->target;
  RCHK_TRY(check_stand(guest, target.registers));
  at = {at.event, segment.anchor->number, 0, 0};
  guest.is_amid = distance.rep_iterations > 0;
  return std::optional<Outcome>();
}

}  // namespace rchk::replay
