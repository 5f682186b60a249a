// Going back to what happened last: searches of history, from the latest stretch back.
// docs/notes/searching.md

#include <algorithm>

#include "base/check.h"
#include "engine/timeline/clock.h"
#include "engine/timeline/paced_question.h"
#include "engine/timeline/timeline.h"

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::FoundHit;
using replay::Guest;
using replay::Outcome;
using translate::HitPolicy;

namespace {

TimelineStop stop(StopKind kind, uint32_t index = 0) {
  TimelineStop result;
  result.kind = kind;
  result.index = index;
  return result;
}

}  // namespace

Result<TimelineStop> Timeline::continue_backward(const RunCommand& command) {
  auto found = search_backward(command);
  searched_to_.reset();
  return found;
}

Result<TimelineStop> Timeline::search_backward(const RunCommand& command) {
  RCHK_TRY_ASSIGN(Position end, position());
  Position floor = beginning();
  if (command.until) floor = std::max(floor, Position{*command.until, 0, 0, 0});
  Crews crews(end);
  PacedQuestion asked(command.interrupted);
  while (end > floor) {
    searched_to_ = end;
    if (asked.now()) {
      dismiss(crews);
      return stop(StopKind::kInterrupted);
    }
    RCHK_TRY_ASSIGN(const std::optional<Position> ruled_out, ruled_out_before(end, floor));
    if (ruled_out && !points_.stops_at_events()) {
      end = *ruled_out;
      continue;
    }
    Position start;
    SearchResult found;
    if (ruled_out) {
      start = *ruled_out;
    } else {
      RCHK_TRY(employ(crews, end, floor));
      const auto job = crews.here ? crews.here->job_before(end) : std::nullopt;
      if (job) {
        start = crews.here->jobs()[*job].begin;
        RCHK_TRY_ASSIGN(found, search_job(*crews.here, *job, end, command.interrupted));
      } else {
        RCHK_TRY_ASSIGN(const Checkpoint* const from, base_for(end, true));
        if (from == nullptr) break;
        start = std::max(from->guest.position, floor);
        if (!can_skip(*from, end)) {
          RCHK_TRY_ASSIGN(found, search_interval(*from, end, command.interrupted));
        }
      }
    }
    if (found.interrupted) {
      dismiss(crews);
      return stop(StopKind::kInterrupted);
    }
    const bool hit = found.hit && found.hit->position >= start;
    RCHK_TRY_ASSIGN(const auto landmark, previous_landmark(start, end));
    if (hit && (!landmark || found.hit->position >= landmark->position)) {
      dismiss(crews);
      RCHK_TRY(seek(found.hit->position));
      const bool watch = found.hit->is_watchpoint;
      return stop(watch ? StopKind::kWatchpoint : StopKind::kBreakpoint, found.hit->probe);
    }
    end = start;
    if (!landmark) continue;
    RCHK_TRY(seek(landmark->position));
    if (tell(*landmark)) {
      dismiss(crews);
      return landmark->stop;
    }
    RCHK_TRY_ASSIGN(end, position());
  }
  dismiss(crews);
  RCHK_TRY_ASSIGN(const Position present, position());
  if (floor < present) RCHK_TRY(seek(floor));
  return stop(StopKind::kHistoryBegin);
}

// Whether positions mean the same for ever: there are no anchors that could come or go.
bool Timeline::positions_stay() const {
  return live_ == nullptr && beyond_ == nullptr && anchors_.empty();
}

void Timeline::note_unvisited(const Position& begin, const Position& end,
                              const std::vector<GuestAddress>& instructions) {
  if (positions_stay()) {
    unreached_.note(begin, end, instructions);
  } else {
    checkpoints_.note_unvisited(begin, end, instructions);
  }
}

// Whether nothing that is looked for can have happened between `from` and the checkpoint at `end`.
bool Timeline::can_skip(const Checkpoint& from, const Position& end) const {
  const Checkpoint* const before = checkpoints_.before(end);
  if (!uses_index_ || before != &from) return false;
  for (const Breakpoint& point : points_.breakpoints) {
    const bool unvisited = positions_stay()
                               ? unreached_.covers(before->guest.position, end, point.address)
                               : checkpoints_.unvisited_before(end, point.address);
    if (!unvisited) return false;
  }
  return std::all_of(points_.watches.begin(), points_.watches.end(), [&](const Watch& watch) {
    return watch.kind == translate::WatchKind::kWrite &&
           checkpoints_.unchanged_before(end, watch.range);
  });
}

Result<std::optional<Position>> Timeline::ruled_out_before(const Position& end,
                                                           const Position& floor) {
  using Answer = std::optional<Position>;
  const Station* const before = stations_.before(end);
  const Station* const behind = stations_.at_or_after(end);
  if (!uses_index_ || before == nullptr || behind == nullptr) return Answer();
  if (!positions_stay()) return Answer();
  const Position begin = before->position();
  if (begin < floor) return Answer();
  RCHK_TRY_ASSIGN(const bool follows, stations_.same_program_as_before(*behind));
  if (!follows) return Answer();
  for (const Breakpoint& point : points_.breakpoints) {
    if (!unreached_.covers(begin, end, point.address)) return Answer();
  }
  for (const Watch& watch : points_.watches) {
    if (watch.kind != translate::WatchKind::kWrite) return Answer();
    RCHK_TRY_ASSIGN(const bool touched, stations_.touched(*behind, watch.range));
    if (touched) return Answer();
  }
  return Answer(begin);
}

// Where a call may have been storing when the snapshot was taken, memory may have early what an
// event tells of later: that store would not be seen.
bool Timeline::can_search_with_early(const std::vector<AddressRange>& early) const {
  if (!early.empty() && points_.conditional()) return false;
  return std::none_of(early.begin(), early.end(), [&](const AddressRange& range) {
    return std::any_of(points_.watches.begin(), points_.watches.end(),
                       [&](const Watch& watch) { return watch.range.overlaps(range); });
  });
}

Result<bool> Timeline::can_search_from(const Station& station) const {
  RCHK_TRY_ASSIGN(const auto taken, stations_.snapshot(station));
  return can_search_with_early(taken->unsettled);
}

// In order; `but` is left out.
std::vector<GuestAddress> Timeline::breakpoint_addresses(GuestAddress but) const {
  std::vector<GuestAddress> all;
  for (const Breakpoint& point : points_.breakpoints) {
    if (point.address != but) all.push_back(point.address);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

Result<Timeline::Stretch> Timeline::last_touch(AddressRange range) {
  if (!at_live_end_) {
    RCHK_TRY(stand());
    RCHK_TRY(keep_checkpoint(*guest_, present_ns_, present_ns_));
  }
  RCHK_TRY_ASSIGN(Position end, position());
  for (;;) {
    if (checkpoints_.unchanged_before(end, range)) {
      end = checkpoints_.before(end)->guest.position;
      continue;
    }
    const Station* const station = stations_.at(end);
    if (station == nullptr || stations_.before(end) == nullptr) break;
    RCHK_TRY_ASSIGN(const bool touched, stations_.touched(*station, range));
    if (touched) break;
    end = stations_.before(end)->position();
  }
  Position begin = beginning();
  if (const Checkpoint* const before = checkpoints_.before(end)) {
    begin = std::max(begin, before->guest.position);
  }
  if (const Station* const before = stations_.before(end)) {
    begin = std::max(begin, before->position());
  }
  return Stretch{begin, end};
}

// Looks for the last hit in [from, end).
Result<SearchResult> Timeline::search_interval(const Checkpoint& from, const Position& end,
                                               const std::function<bool()>& interrupted) {
  if (points_.breakpoints.empty() && points_.watches.empty()) return SearchResult{};
  RCHK_TRY_ASSIGN(Guest guest, from.guest.fork());
  // `from` may go while checkpoints are made.
  int64_t at_ns = from.at_ns;
  const Position start = guest.position;
  replayer_->note_if_amid(guest);
  const auto run = [&](const AdvanceRequest& request) {
    return advance(guest, request, at_ns, interrupted);
  };
  RCHK_TRY_ASSIGN(const SearchResult result, search_on(*replayer_, guest, end, run, interrupted));
  if (!result.interrupted && !result.hit && !result.refused) {
    note_unvisited(start, end, breakpoint_addresses(GuestAddress{}));
  }
  return result;
}

// Looks for the last hit from where `guest` stands up to `end`; `run` lets it go on.
Result<SearchResult> Timeline::search_on(replay::Replayer& replayer, Guest& guest,
                                         const Position& end, const Run& run,
                                         const std::function<bool()>& interrupted) {
  // A hit at `end` does not count. While an anchor is still being looked for, hits at it are
  // remembered: say where it is by a count.
  Position limit = end;
  if (end.anchor > 0 && end.instructions == 0 && end.rep_iterations == 0) {
    RCHK_TRY_ASSIGN(limit, end_of_segment_before(end));
  }
  const bool has_strangers = has_guests(guest.position.event, end.event);
  const bool conditional = points_.conditional() || (has_strangers && !points_.breakpoints.empty());
  RCHK_TRY(
      replayer.set_probes(points_.probes(conditional ? HitPolicy::kStop : HitPolicy::kRemember)));
  replayer.forget_hits();
  AdvanceRequest request;
  request.limit = limit;
  request.report_at_start = true;
  SearchResult result;
  PacedQuestion asked(interrupted);
  for (;;) {
    RCHK_TRY_ASSIGN(const Outcome outcome, run(request));
    if (outcome.stop == AdvanceStop::kSlice) return SearchResult{{}, true, false};
    const bool breakpoint = outcome.stop == AdvanceStop::kBreakpoint;
    if (!breakpoint && outcome.stop != AdvanceStop::kWatchpoint) break;
    request.report_at_start = false;
    if (asked.now()) return SearchResult{{}, true, false};
    result.refused = true;
    // A watchpoint stops behind the access, which may be the last thing that happened.
    if (breakpoint ? guest.position >= limit : guest.position > limit) continue;
    const bool holds = breakpoint ? counts_at(points_.breakpoints[outcome.probe], guest)
                                  : counts(points_.watches[outcome.probe].condition, guest);
    if (!holds) continue;
    Position position = guest.position;
    if (!breakpoint) {
      RCHK_TRY_ASSIGN(const auto before, position_before(position));
      if (before) position = *before;
      RCHK_TRY(replayer.set_probes(points_.probes(HitPolicy::kStop)));
    }
    result.hit = FoundHit{position, !breakpoint, outcome.probe};
  }
  if (!conditional) result.hit = replayer.last_hit();
  return result;
}

}  // namespace rchk::timeline
