#include "engine/replay/parallel_replay.h"

#include <algorithm>
#include <ctime>

#include <xxhash.h>

#include "engine/replay/error_cause.h"
#include "engine/replay/family_replay.h"
#include "engine/replay/job_board.h"
#include "engine/replay/replayer.h"
#include "engine/replay/worker_processes.h"
#include "snapshot/checksum.h"
#include "snapshot/memory_cost.h"

namespace rchk::replay {

using trace::ProcessIndex;

namespace {

// A stretch is at least so many times as long as making its guest takes, and at least so long.
constexpr uint64_t kLeastTimesRestoring = 6;
constexpr uint64_t kShortestNs = 200'000'000;
// What making a guest of a page snapshot takes, about.
constexpr uint64_t kProcessNs = 5'000'000, kPageNs = 6'000;
// What a worker needs besides its guest's memory.
constexpr uint64_t kWorkerBytes = 64ull << 20;

// One number for all memory of a guest.
Result<uint64_t> digest_of(Guest& guest) {
  RCHK_TRY(guest.puppet->grow_stacks());
  RCHK_TRY_ASSIGN(const std::vector<snapshot::RunChecksum> runs,
                  snapshot::checksum_memory(guest.puppet->pid(), guest.puppet->space()));
  static_assert(std::has_unique_object_representations_v<snapshot::RunChecksum>);
  return XXH3_64bits(runs.data(), runs.size() * sizeof(snapshot::RunChecksum));
}

// What became of a piece. Plain bytes: it is passed between processes.
struct PieceResult {
  ReplayTotals totals;
  std::optional<uint64_t> begins_with, ends_with;  // of a stretch: digests of all memory
};
using Board = JobBoard<PieceResult>;

}  // namespace

// Replays pieces in one process, one after the other.
class ParallelReplay::Hand {
 public:
  // Behind each event of a process, with its number in the recording.
  using OnEvent = std::function<Result<void>(EventNumber)>;

  static Result<Hand> create(const ParallelReplay& whole, int cpu, const OnEvent& on_event) {
    const ParallelOptions& options = whole.options_;
    FamilyReplay::Options of_families{cpu, options.restores, options.namer, {}, {}};
    of_families.on_event = [on_event](ProcessIndex, EventNumber number, const trace::Event&) {
      return on_event(number);
    };
    RCHK_TRY_ASSIGN(FamilyReplay families,
                    FamilyReplay::create(whole.recording_, whole.families_, of_families));
    return Hand(whole, cpu, on_event, std::move(families));
  }

  // Where it fails, `result` has what is known. Before the first event of a stretch is told of it
  // has what that begins with.
  Result<void> replay(const Piece& piece, PieceResult& result) {
    return piece.is_whole_family() ? replay_family(piece, result) : replay_stretch(piece, result);
  }

 private:
  Hand(const ParallelReplay& whole, int cpu, OnEvent on_event, FamilyReplay families)
      : whole_(&whole), cpu_(cpu), on_event_(std::move(on_event)), families_(std::move(families)) {}

  Result<void> replay_family(const Piece& piece, PieceResult& result) {
    const Family& family = whole_->families_.all()[piece.family];
    trace::SnapshotSource* const snapshots = whole_->recording_.snapshots();
    const size_t beginnings = snapshots == nullptr ? 0 : snapshots->beginnings().size();
    size_t passed = 0;
    for (const Step& step : family.steps) {
      const EventNumber last = whole_->families_.strand(step.process).global_number({step.last});
      for (; passed < beginnings && snapshots->beginnings()[passed] <= last; ++passed) {
        RCHK_TRY(families_.check_beginning(passed, piece.family));
      }
      RCHK_TRY(families_.begin(step.process));
      RCHK_TRY_ASSIGN(const bool ended, families_.advance(step));
      if (ended) families_.end(step.process);
    }
    for (const Step& step : family.steps) families_.end(step.process);
    result.totals = families_.take_totals();
    return {};
  }

  Result<void> replay_stretch(const Piece& piece, PieceResult& result) {
    const ProcessIndex process = whole_->families_.all()[piece.family].steps.front().process;
    // One that shares no memory with other guests: the next stretch's has to begin anew.
    Strand& strand = whole_->families_.strand(process);
    if (process_cut_ != process) {
      RCHK_TRY_ASSIGN(replayer_, Replayer::create(strand, cpu_));
      replayer_->name_syscalls_with(whole_->options_.namer);
      if (whole_->options_.restores) replayer_->restore_snapshots();
      replayer_->on_event([this, &strand](EventNumber number, const trace::Event&, const Guest&) {
        return on_event_(strand.global_number(number));
      });
      process_cut_ = process;
    }
    const ReplayTotals before = ReplayTotals::of(*replayer_);
    RCHK_TRY_ASSIGN(Guest guest,
                    piece.begin ? replayer_->start_at(*piece.begin) : replayer_->start());
    if (piece.begin) {
      RCHK_TRY_ASSIGN(result.begins_with, digest_of(guest));
    }
    AdvanceRequest request;
    if (piece.last) request.limit = Position{*piece.last, 0, 0, 0};
    RCHK_TRY_ASSIGN(const Outcome outcome, replayer_->advance(guest, request));
    if (piece.last && outcome.stop != AdvanceStop::kLimit) {
      return fail(ErrorKind::kBadTrace,
                  fmt::format("the replay does not come to event {}, behind which snapshots lie",
                              strand.global_number(*piece.last)));
    }
    if (piece.last) {
      RCHK_TRY_ASSIGN(result.ends_with, digest_of(guest));
    }
    result.totals = ReplayTotals::of(*replayer_) - before;
    if (outcome.stop == AdvanceStop::kExit) {
      result.totals.exit = whole_->families_.program_end(process, outcome.event);
    }
    return {};
  }

  const ParallelReplay* whole_;
  int cpu_;
  OnEvent on_event_;
  FamilyReplay families_;
  std::unique_ptr<Replayer> replayer_;       // of the last stretch
  std::optional<ProcessIndex> process_cut_;  // whose that is
};

// One run of all pieces.
class ParallelReplay::Work {
 public:
  Work(const ParallelReplay& whole, Board board, const OnEvent& on_event,
       const OnProgress& on_progress)
      : whole_(whole),
        board_(std::move(board)),
        on_event_(on_event),
        on_progress_(on_progress),
        told_(whole.families_.processes()),
        tellable_(whole.families_.all().size()) {
    for (size_t piece = whole.pieces_.size(); piece-- > 0;) {
      tellable_[whole.pieces_[piece].family] = piece;
    }
  }

  Result<ReplayTotals> run() {
    start_workers();
    RCHK_TRY_ASSIGN(Hand hand, make_hand(whole_.options_.cpu));
    for (;;) {
      RCHK_TRY(tell());
      RCHK_TRY_ASSIGN(const bool done, add_done());
      if (done) return totals_;
      if (const std::optional<size_t> piece = board_.take_next(Board::kMaker)) {
        replay(hand, *piece);
        continue;
      }
      workers_.any_left([this](uint32_t worker) { board_.reopen_taken_by(worker); });
      const timespec moment{0, 500'000};
      nanosleep(&moment, nullptr);
    }
  }

 private:
  void start_workers() {
    workers_.start(std::span(whole_.options_.cores).first(whole_.workers()),
                   [this](uint32_t worker, int cpu) {
                     is_worker_ = true;
                     auto hand = make_hand(cpu);
                     if (!hand) return;
                     while (const std::optional<size_t> piece = board_.take_next(worker)) {
                       if (!replay(*hand, *piece)) return;
                     }
                   });
  }

  Result<Hand> make_hand(int cpu) {
    return Hand::create(whole_, cpu, [this](EventNumber number) {
      board_.progress(*piece_).store(number.value + 1, std::memory_order_release);
      ++board_.work_done();
      return is_worker_ ? Result<void>() : tell();
    });
  }

  // False where a worker fails for want of something that others may have.
  bool replay(Hand& hand, size_t piece) {
    piece_ = piece;
    result_ = {};
    board_.progress(piece) = 0;
    const Result<void> success = hand.replay(whole_.pieces_[piece], result_);
    if (!success && is_worker_ && !is_of_recording(success.error())) return false;
    board_.put(piece, result_, success);
    piece_.reset();
    return true;
  }

  // Tells of the events that are next in the log, as far as they were replayed.
  Result<void> tell() {
    if (on_progress_) on_progress_(board_.work_done());
    const std::vector<Step>& steps = whole_.families_.steps();
    for (; step_ < steps.size(); ++step_) {
      const Step& step = steps[step_];
      const Strand& strand = whole_.families_.strand(step.process);
      const size_t family = whole_.families_.family_of(step.process);
      // One by one only where somebody listens.
      uint64_t& next = told_[step.process.value];
      if (!on_event_) next = step.last;
      for (; next <= step.last; ++next) {
        const EventNumber number = strand.global_number({next});
        RCHK_TRY_ASSIGN(const bool replayed, has_replayed(family, number));
        if (!replayed) return {};
        // An event of two processes is told of once.
        if (!on_event_ || number.value < told_before_) continue;
        RCHK_TRY_ASSIGN(const auto event, whole_.recording_.event(number));
        told_before_ = number.value + 1;
        RCHK_TRY(on_event_(number, *event));
      }
    }
    return {};
  }

  // Whether that event of a family was replayed, from memory as it should have been.
  Result<bool> has_replayed(size_t family, EventNumber number) {
    size_t& piece = tellable_[family];
    for (;; ++piece) {
      RCHK_TRY_ASSIGN(const bool fits, fits_the_one_before(piece));
      if (!fits) return false;
      if (number <= whole_.last_of(whole_.pieces_[piece])) break;
      if (board_.state(piece) == Board::State::kFailed) return Failure(board_.error(piece));
      if (board_.state(piece) != Board::State::kDone) return false;
    }
    const auto has = [&] {
      return board_.progress(piece).load(std::memory_order_acquire) > number.value;
    };
    if (has()) return true;
    if (board_.state(piece) != Board::State::kFailed || has()) return has();
    return Failure(board_.error(piece));
  }

  // Whether a piece is known to begin with what the one before, which is done, ended with.
  Result<bool> fits_the_one_before(size_t piece) const {
    const Piece& stretch = whole_.pieces_[piece];
    if (!stretch.begin) return true;
    const bool is_mine = piece_ == piece;
    const Board::State state = board_.state(piece);
    const bool has_ended = state == Board::State::kDone || state == Board::State::kFailed;
    if (!is_mine && !has_ended) return false;
    const PieceResult& result = is_mine ? result_ : board_.found(piece);
    // Where it began wrongly, what it came to says nothing.
    if (!result.begins_with || result.begins_with == board_.found(piece - 1).ends_with) return true;
    const auto& snapshots = whole_.recording_.snapshots()->marks();
    return fail(ErrorKind::kDivergence,
                fmt::format("memory differs from what page snapshot {} restores, behind event {}; "
                            "`rchk verify --restore` tells where",
                            stretch.begin->value, snapshots[stretch.begin->value].event));
  }

  // Whether all of them are done.
  Result<bool> add_done() {
    if (step_ < whole_.families_.steps().size()) return false;
    for (; done_ < board_.count(); ++done_) {
      const Board::State state = board_.state(done_);
      if (state == Board::State::kFailed) return Failure(board_.error(done_));
      if (state != Board::State::kDone) return false;
      totals_ += board_.found(done_).totals;
    }
    return true;
  }

  const ParallelReplay& whole_;
  Board board_;
  const OnEvent& on_event_;
  const OnProgress& on_progress_;
  WorkerProcesses workers_;
  bool is_worker_ = false;
  std::optional<size_t> piece_;   // that this process replays
  PieceResult result_;            // what is known of it
  size_t step_ = 0;               // of which not all was told
  std::vector<uint64_t> told_;    // so many events of each process
  uint64_t told_before_ = 0;      // all events before that one, at least
  std::vector<size_t> tellable_;  // of each family, the piece that is told of next
  size_t done_ = 0;               // so many pieces are in the totals
  ReplayTotals totals_;
};

Result<std::vector<ParallelReplay::Piece>> ParallelReplay::pieces_of(size_t family,
                                                                     uint64_t& guest_bytes) const {
  std::vector<Piece> all(1);
  all.front().family = family;
  const std::vector<Step>& steps = families_.all()[family].steps;
  trace::SnapshotSource* const snapshots = recording_.snapshots();
  const bool cuts = !options_.cores.empty() || options_.cuts_always;
  if (!cuts || !families_.all()[family].is_of_one_process || steps.empty() ||
      snapshots == nullptr) {
    return all;
  }
  const ProcessIndex process = steps.front().process;
  Strand& strand = families_.strand(process);
  struct Place {
    trace::SnapshotNumber snapshot;
    EventNumber event;
  };
  std::vector<Place> places;
  trace::SnapshotNumber number;
  for (const trace::SnapshotMark& mark : snapshots->marks()) {
    const auto event = strand.local_number(mark.event);
    if (event && families_.owner_of(mark.space) == process) places.push_back({number, *event});
    ++number.value;
  }
  if (places.empty()) return all;
  RCHK_TRY_ASSIGN(const auto pages, snapshots->pages(places.back().snapshot));
  guest_bytes = pages.size() * kPageSize;
  const uint64_t restore_ns = kProcessNs + pages.size() * kPageNs;
  const uint64_t shortest_ns =
      options_.cuts_always ? 0 : std::max(kShortestNs, restore_ns * kLeastTimesRestoring);
  RCHK_TRY_ASSIGN(const auto last, strand.event({strand.event_count() - 1}));
  uint64_t begin_ns = 0;  // of processor time
  for (const Place& place : places) {
    if (place.event.value + 1 >= strand.event_count()) continue;
    RCHK_TRY_ASSIGN(const auto taken, snapshots->snapshot(place.snapshot));
    // What a call was storing is there early.
    if (!taken->unsettled.empty()) continue;
    const uint64_t left_ns = last->time_ns - std::min(taken->image.time_ns, last->time_ns);
    if (taken->cpu_ns < begin_ns + shortest_ns || left_ns < shortest_ns) continue;
    begin_ns = taken->cpu_ns;
    all.back().last = place.event;
    all.push_back({family, place.snapshot, place.event, std::nullopt});
  }
  return all;
}

EventNumber ParallelReplay::last_of(const Piece& piece) const {
  if (!piece.last) return EventNumber{UINT64_MAX};
  const ProcessIndex process = families_.all()[piece.family].steps.front().process;
  return families_.strand(process).global_number(*piece.last);
}

Result<ParallelReplay> ParallelReplay::plan(trace::EventSource& recording,
                                            ParallelOptions options) {
  // One alone replays all in the order in which it is to tell of it.
  const bool alone = options.cores.empty();
  RCHK_TRY_ASSIGN(Families families, Families::of(recording, alone));
  ParallelReplay plan(recording, std::move(options), std::move(families));
  uint64_t guest_bytes = 0;  // of the largest guest that begins at a snapshot
  for (size_t family = 0; family < plan.families_.all().size(); ++family) {
    uint64_t bytes = 0;
    RCHK_TRY_ASSIGN(const std::vector<Piece> pieces, plan.pieces_of(family, bytes));
    plan.pieces_.insert(plan.pieces_.end(), pieces.begin(), pieces.end());
    guest_bytes = std::max(guest_bytes, bytes);
  }
  const uint64_t affordable = snapshot::usable_memory_bytes() / 2 / (guest_bytes + kWorkerBytes);
  plan.workers_ =
      std::min({plan.options_.cores.size(), std::max<size_t>(plan.pieces_.size(), 1) - 1,
                static_cast<size_t>(affordable)});
  return plan;
}

Result<ReplayTotals> ParallelReplay::run(const OnEvent& on_event, const OnProgress& on_progress) {
  RCHK_TRY_ASSIGN(Board board, Board::create(pieces_.size()));
  Work work(*this, std::move(board), on_event, on_progress);
  return work.run();
}

}  // namespace rchk::replay
