// Searches by several processes at a time: what is searched by which, and what comes of it.

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/timeline/clock.h"
#include "engine/timeline/paced_question.h"
#include "engine/timeline/timeline.h"

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::Guest;
using replay::Outcome;

namespace {

// A job is at least so many times as long as making its guest takes.
constexpr int64_t kLeastTimesRestoring = 6;
// So many jobs are made at a time, of so many stretches at most: each has to be looked at.
constexpr size_t kMostJobs = 128, kMostStretches = 512;
// What a worker needs besides its guest's memory.
constexpr uint64_t kWorkerBytes = 64ull << 20;

}  // namespace

// Cuts the history before `end` at page snapshots, and leaves out what is ruled out.
Result<Timeline::Cut> Timeline::cut_before(const Position& end, const Position& floor) {
  Cut cut{{}, end};
  struct Pending {
    Position end;
    int64_t end_ns = INT64_MAX;  // processor time; the present's is not known
  };
  std::optional<Pending> pending;
  std::optional<trace::SnapshotNumber> usable;  // at cut.begin
  int64_t begin_ns = INT64_MAX;                 // of cut.begin
  std::optional<int64_t> shortest_ns;
  const auto close = [&] {
    cut.jobs.push_back({cut.begin, pending->end, *usable});
    pending.reset();
  };
  for (size_t i = 0; i < kMostStretches && cut.jobs.size() < kMostJobs; ++i) {
    const Station* const station = stations_.before(cut.begin);
    if (station == nullptr || station->position() < floor) break;
    RCHK_TRY_ASSIGN(const std::optional<Position> ruled_out, ruled_out_before(cut.begin, floor));
    if (ruled_out && pending && usable) close();
    if (!ruled_out && !pending) pending = Pending{cut.begin, begin_ns};
    cut.begin = station->position();
    RCHK_TRY_ASSIGN(const auto taken, stations_.snapshot(*station));
    begin_ns = static_cast<int64_t>(taken->cpu_ns);
    RCHK_TRY_ASSIGN(const bool can_begin, can_search_from(*station));
    usable = can_begin ? std::optional(station->number) : std::nullopt;
    if (!pending || !usable) continue;
    if (!shortest_ns) {
      RCHK_TRY_ASSIGN(const int64_t restore_ns, stations_.restore_ns(*station));
      shortest_ns = std::max<int64_t>(restore_ns, 0) * kLeastTimesRestoring;
    }
    if (pending->end_ns - begin_ns >= *shortest_ns) close();
  }
  return cut;
}

// Starts a crew for what lies before `end` where the search has taken long enough for that, and
// ends the one that has nothing left to do.
Result<void> Timeline::employ(Crews& crews, const Position& end, const Position& floor) {
  if (crews.here && end <= crews.here->jobs().back().begin) dismiss(crews);
  const bool possible = positions_stay() && !grows_ && !search_options_.cores.empty();
  const bool wanted = !points_.breakpoints.empty() || !points_.watches.empty();
  if (crews.here || !possible || !wanted || end > crews.next) return {};
  if (now_ns() - crews.since_ns < search_options_.patience_ns) return {};
  RCHK_TRY_ASSIGN(Cut cut, cut_before(end, floor));
  crews.next = cut.begin;
  if (cut.jobs.size() < 2) return {};
  const Station* const station = stations_.at(cut.jobs.front().begin);
  RCHK_TRY_ASSIGN(const uint64_t guest_bytes, stations_.memory_bytes(*station));
  const uint64_t affordable = snapshot::usable_memory_bytes() / 4 / (guest_bytes + kWorkerBytes);
  const size_t workers = std::min(
      {search_options_.cores.size(), cut.jobs.size() - 1, static_cast<size_t>(affordable)});
  crews.here =
      SearchCrew::start(std::move(cut.jobs), std::span(search_options_.cores).first(workers),
                        [this](int cpu) { return make_search(cpu); });
  return {};
}

// Ends the crew, and keeps what it has learned.
void Timeline::dismiss(Crews& crews) {
  if (!crews.here) return;
  crews.here->end_soon();
  const std::vector<GuestAddress> addresses = breakpoint_addresses(GuestAddress{});
  for (size_t i = 0; i < crews.here->jobs().size(); ++i) {
    if (crews.here->state(i) != SearchCrew::State::kDone) continue;
    if (crews.here->is_by_worker(i)) ++searched_by_workers_;
    const SearchResult& result = crews.here->result(i);
    const SearchJob& job = crews.here->jobs()[i];
    if (!result.hit && !result.refused) note_unvisited(job.begin, job.end, addresses);
  }
  crews.here.reset();
}

// In a worker: leaves alone what is its maker's, all guests and their replayer.
Result<SearchCrew::Search> Timeline::make_search(int cpu) {
  RCHK_TRY_ASSIGN(std::shared_ptr<replay::Replayer> replayer,
                  replay::Replayer::create(source_, cpu));
  return SearchCrew::Search(
      [this, replayer](const SearchJob& job, const SearchCrew::GiveUp& give_up) {
        return search_from(*replayer, job, give_up);
      });
}

Result<SearchResult> Timeline::search_from(replay::Replayer& replayer, const SearchJob& job,
                                           const SearchCrew::GiveUp& give_up) {
  constexpr uint64_t kSlice = 15'000'000;  // some 5 ms
  RCHK_TRY_ASSIGN(Guest guest, replayer.start_at(job.station));
  replayer_->note_if_amid(guest);  // what the maker's replays have found
  const auto run = [&](AdvanceRequest request) -> Result<Outcome> {
    request.slice_instructions = kSlice;
    for (;;) {
      RCHK_TRY_ASSIGN(const Outcome outcome, replayer.advance(guest, request));
      if (outcome.stop != AdvanceStop::kSlice || give_up()) return outcome;
      request.report_at_start = true;
    }
  };
  return search_on(replayer, guest, job.end, run, give_up);
}

// Looks for the last hit in [begin, end), from the latest checkpoint back.
Result<SearchResult> Timeline::search_back(const Position& begin, Position end,
                                           const std::function<bool()>& interrupted) {
  SearchResult all;
  PacedQuestion asked(interrupted);
  while (end > begin) {
    if (asked.now()) return SearchResult{{}, true, false};
    RCHK_TRY_ASSIGN(const Checkpoint* const from, base_for(end, true));
    if (from == nullptr) return fail(ErrorKind::kMisuse, fmt::format("nothing before {}", end));
    const Position start = std::max(from->guest.position, begin);
    SearchResult found;
    if (!can_skip(*from, end)) {
      RCHK_TRY_ASSIGN(found, search_interval(*from, end, interrupted));
    }
    if (found.interrupted) return found;
    all.refused |= found.refused;
    if (found.hit && found.hit->position >= start) {
      all.hit = found.hit;
      return all;
    }
    // One before `begin` is another job's; what it says of this one is not noted.
    all.refused |= found.hit.has_value();
    end = start;
  }
  return all;
}

// The last hit before `end` in the stretch of a job, found by whoever is first.
Result<SearchResult> Timeline::search_job(SearchCrew& crew, size_t wanted, const Position& end,
                                          const std::function<bool()>& interrupted) {
  const SearchJob stretch = crew.jobs()[wanted];
  bool user_interrupted = false;
  for (;;) {
    const SearchCrew::State state = crew.state(wanted);
    if (state == SearchCrew::State::kDone) {
      const SearchResult result = crew.result(wanted);
      const bool behind = result.hit && result.hit->position >= end;
      return behind ? search_back(stretch.begin, end, interrupted) : Result<SearchResult>(result);
    }
    if (state == SearchCrew::State::kFailed) return search_back(stretch.begin, end, interrupted);
    if (search_options_.waits_for_workers && crew.has_workers()) {
      if (interrupted && interrupted()) return SearchResult{{}, true, false};
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      continue;
    }
    // It is another's: this process does one that comes later in turn, or else the same.
    const bool is_mine = crew.take(wanted);
    const std::optional<size_t> later = is_mine ? std::nullopt : crew.take_near(wanted);
    const size_t job = later.value_or(wanted);
    const bool is_shared = !is_mine && !later;
    const auto enough = [&] {
      user_interrupted = user_interrupted || (interrupted && interrupted());
      return user_interrupted ||
             (is_shared ? crew.state(wanted) == SearchCrew::State::kDone : crew.answered(wanted));
    };
    const auto result = search_back(crew.jobs()[job].begin, crew.jobs()[job].end, enough);
    if (!result) {
      if (!later) return result;
      crew.fail(*later);  // searched again, and told, when it is its turn
      continue;
    }
    if (user_interrupted) return SearchResult{{}, true, false};
    if (is_shared && !result->interrupted) {
      const bool behind = result->hit && result->hit->position >= end;
      return behind ? search_back(stretch.begin, end, interrupted) : result;
    }
    if (is_shared) continue;
    if (result->interrupted) {
      crew.give_back(job);
    } else {
      crew.finish(job, *result);
    }
  }
}

}  // namespace rchk::timeline
