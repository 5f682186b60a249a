#include "engine/replay/parallel_replay.h"

#include <algorithm>
#include <ctime>

#include <xxhash.h>

#include "engine/replay/job_board.h"
#include "engine/replay/replayer.h"
#include "engine/replay/worker_processes.h"
#include "snapshot/checksum.h"
#include "snapshot/memory_cost.h"

namespace rchk::replay {

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

// What became of a stretch. Plain bytes: it is passed between processes.
struct StretchResult {
  ReplayTotals totals;
  std::optional<uint64_t> begins_with, ends_with;  // digests of all memory
};
using Board = JobBoard<StretchResult>;

}  // namespace

ReplayTotals& ReplayTotals::operator+=(const ReplayTotals& other) {
  instructions += other.instructions;
  checksums += other.checksums;
  snapshots += other.snapshots;
  snapshot_pages += other.snapshot_pages;
  snapshots_restored += other.snapshots_restored;
  if (other.exit) exit = other.exit;
  return *this;
}

// Replays stretches in one process, one after the other.
class ParallelReplay::Hand {
 public:
  static Result<Hand> create(const ParallelReplay& whole, int cpu, Replayer::OnEvent on_event) {
    RCHK_TRY_ASSIGN(std::unique_ptr<Replayer> replayer, Replayer::create(whole.source_, cpu));
    replayer->name_syscalls_with(whole.options_.namer);
    replayer->on_event(std::move(on_event));
    if (whole.options_.restores) replayer->restore_snapshots();
    return Hand(std::move(replayer));
  }

  // Where it fails, `result` has what is known.
  Result<void> replay(const Stretch& stretch, StretchResult& result) {
    const ReplayTotals before = totals();
    RCHK_TRY_ASSIGN(Guest guest,
                    stretch.begin ? replayer_->start_at(*stretch.begin) : replayer_->start());
    if (stretch.begin) {
      RCHK_TRY_ASSIGN(result.begins_with, digest_of(guest));
    }
    AdvanceRequest request;
    if (stretch.last) request.limit = Position{*stretch.last, 0, 0, 0};
    RCHK_TRY_ASSIGN(const Outcome outcome, replayer_->advance(guest, request));
    if (stretch.last && outcome.stop != AdvanceStop::kLimit) {
      return fail(ErrorKind::kBadTrace,
                  fmt::format("the replay does not come to event {}, behind which snapshots lie",
                              replayer_->source().global_number(*stretch.last)));
    }
    if (stretch.last) {
      RCHK_TRY_ASSIGN(result.ends_with, digest_of(guest));
    }
    result.totals = totals();
    result.totals.instructions -= before.instructions;
    result.totals.checksums -= before.checksums;
    result.totals.snapshots -= before.snapshots;
    result.totals.snapshot_pages -= before.snapshot_pages;
    result.totals.snapshots_restored -= before.snapshots_restored;
    if (outcome.stop == AdvanceStop::kExit) result.totals.exit = outcome.event;
    return {};
  }

 private:
  explicit Hand(std::unique_ptr<Replayer> replayer) : replayer_(std::move(replayer)) {}
  ReplayTotals totals() const {
    return {replayer_->instructions(),       replayer_->checksums_verified(),
            replayer_->snapshots_verified(), replayer_->pages_verified(),
            replayer_->snapshots_restored(), std::nullopt};
  }
  std::unique_ptr<Replayer> replayer_;
};

// One run of all stretches.
class ParallelReplay::Work {
 public:
  Work(ParallelReplay& whole, Board board, const OnEvent& on_event, const OnProgress& on_progress)
      : whole_(whole), board_(std::move(board)), on_event_(on_event), on_progress_(on_progress) {}

  Result<ReplayTotals> run() {
    start_workers();
    RCHK_TRY_ASSIGN(Hand hand, Hand::create(whole_, whole_.options_.cpu,
                                            [this](EventNumber number, const trace::Event& event,
                                                   const Guest&) { return here(number, event); }));
    while (delivered_ < board_.count()) {
      RCHK_TRY_ASSIGN(const bool more, deliver_next());
      if (more) continue;
      if (const std::optional<size_t> stretch = board_.take_next(Board::kMaker)) {
        // Nothing before it is missing: it can be told of as it goes.
        live_ = *stretch == delivered_;
        StretchResult result;
        const auto success = hand.replay(whole_.stretches_[*stretch], result);
        board_.put(*stretch, result, success);
        continue;
      }
      workers_.any_left([this](uint32_t worker) { board_.reopen_taken_by(worker); });
      if (on_progress_) on_progress_(board_.work_done());
      const timespec moment{0, 500'000};
      nanosleep(&moment, nullptr);
    }
    return totals_;
  }

 private:
  void start_workers() {
    workers_.start(std::span(whole_.options_.cores).first(whole_.workers()), [this](uint32_t worker,
                                                                                    int cpu) {
      auto hand = Hand::create(whole_, cpu, [this](EventNumber, const trace::Event&, const Guest&) {
        ++board_.work_done();
        return Result<void>();
      });
      if (!hand) return;
      while (const std::optional<size_t> stretch = board_.take_next(worker)) {
        StretchResult result;
        const auto success = hand->replay(whole_.stretches_[*stretch], result);
        // That may be for want of memory, say: another process does it again.
        if (!success && !is_of_recording(success.error())) return;
        board_.put(*stretch, result, success);
      }
    });
  }

  // An event that this process has replayed.
  Result<void> here(EventNumber number, const trace::Event& event) {
    const uint64_t events = ++board_.work_done();
    if (on_progress_) on_progress_(events);
    return live_ && on_event_ ? on_event_(number, event) : Result<void>();
  }

  // Tells of the next stretch in order, if that is known; false if it is not.
  Result<bool> deliver_next() {
    const Board::State state = board_.state(delivered_);
    if (state != Board::State::kDone && state != Board::State::kFailed) return false;
    const Stretch& stretch = whole_.stretches_[delivered_];
    const StretchResult& result = board_.found(delivered_);
    // Where it began wrongly, what it came to says nothing.
    if (result.begins_with && result.begins_with != memory_digest_) {
      return fail(
          ErrorKind::kDivergence,
          fmt::format("memory differs from what page snapshot {} restores, behind event {}; "
                      "`rchk verify --restore` tells where",
                      stretch.begin->value, whole_.source_.global_number(stretch.first)));
    }
    if (state == Board::State::kFailed) return Failure(board_.error(delivered_));
    if (!live_ && on_event_) RCHK_TRY(tell_of(stretch));
    live_ = false;
    memory_digest_ = result.ends_with;
    totals_ += result.totals;
    ++delivered_;
    return true;
  }

  Result<void> tell_of(const Stretch& stretch) {
    const EventNumber first = stretch.begin ? stretch.first.next() : EventNumber{0};
    const uint64_t end = stretch.last ? stretch.last->value + 1 : whole_.source_.event_count();
    for (EventNumber number = first; number.value < end; number = number.next()) {
      RCHK_TRY_ASSIGN(const auto event, whole_.source_.event(number));
      RCHK_TRY(on_event_(number, *event));
    }
    return {};
  }

  ParallelReplay& whole_;
  Board board_;
  const OnEvent& on_event_;
  const OnProgress& on_progress_;
  WorkerProcesses workers_;
  size_t delivered_ = 0;  // so many stretches were told of
  bool live_ = false;     // the next one was, or is being, told of as it is replayed here
  std::optional<uint64_t> memory_digest_;  // at the end of those
  ReplayTotals totals_;
};

Result<std::vector<ParallelReplay::Stretch>> ParallelReplay::all_stretches() const {
  std::vector<Stretch> all(1);
  trace::SnapshotSource* const snapshots = source_.snapshots();
  if (snapshots == nullptr || snapshots->marks().empty() || source_.event_count() == 0) return all;
  const auto count = static_cast<uint32_t>(snapshots->marks().size());
  const uint64_t restore_ns = kProcessNs + guest_bytes_ / kPageSize * kPageNs;
  const uint64_t shortest_ns =
      options_.cuts_always ? 0 : std::max(kShortestNs, restore_ns * kLeastTimesRestoring);
  RCHK_TRY_ASSIGN(const auto last, source_.event({source_.event_count() - 1}));
  uint64_t begin_ns = 0;  // of processor time
  for (trace::SnapshotNumber number; number.value < count; ++number.value) {
    const auto event = source_.local_number(snapshots->marks()[number.value].event);
    if (!event || event->value + 1 >= source_.event_count()) continue;
    RCHK_TRY_ASSIGN(const auto taken, snapshots->snapshot(number));
    // What a call was storing is there early.
    if (!taken->unsettled.empty()) continue;
    const uint64_t left_ns = last->time_ns - std::min(taken->image.time_ns, last->time_ns);
    if (taken->cpu_ns < begin_ns + shortest_ns || left_ns < shortest_ns) continue;
    begin_ns = taken->cpu_ns;
    all.back().last = *event;
    all.push_back({number, *event, std::nullopt});
  }
  return all;
}

Result<ParallelReplay> ParallelReplay::plan(trace::EventSource& source, ParallelOptions options) {
  ParallelReplay plan(source, std::move(options));
  trace::SnapshotSource* const snapshots = source.snapshots();
  if (snapshots != nullptr && !snapshots->marks().empty()) {
    const auto count = static_cast<uint32_t>(snapshots->marks().size());
    RCHK_TRY_ASSIGN(const auto pages, snapshots->pages(trace::SnapshotNumber{count - 1}));
    plan.guest_bytes_ = pages.size() * kPageSize;
  }
  RCHK_TRY_ASSIGN(plan.stretches_, plan.all_stretches());
  return plan;
}

size_t ParallelReplay::workers() const {
  const uint64_t affordable = snapshot::usable_memory_bytes() / 2 / (guest_bytes_ + kWorkerBytes);
  return std::min({options_.cores.size(), stretches_.size() - 1, static_cast<size_t>(affordable)});
}

Result<ReplayTotals> ParallelReplay::run(const OnEvent& on_event, const OnProgress& on_progress) {
  RCHK_TRY_ASSIGN(Board board, Board::create(stretches_.size()));
  Work work(*this, std::move(board), on_event, on_progress);
  return work.run();
}

}  // namespace rchk::replay
