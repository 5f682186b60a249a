#include <algorithm>
#include <unordered_map>

#include "engine/trace/event_runs.h"
#include "engine/trace/view_numbers.h"

namespace rchk::trace {

namespace {

// What the map says of a view's events is how many there are in each batch, and which is the first
// and the last:
//
//   batches of the recording   |ABABBA|BBBBBB|AAAAAA|BAABAB|
//   stretches of A's view       0 1  2        3.....8 9 ...
//
// Which others they are is seen in the batch itself, once somebody asks; page snapshots are behind
// a batch's last event, and need none to be read.
class NumbersOfMap final : public ViewNumbers {
 public:
  NumbersOfMap(EventSource& recording, const ProcessMap& map, Plan plan)
      : recording_(recording), map_(map), stages_(std::move(plan.stages)), begin_(plan.begin) {
    if (plan.borrower) end_borrowing(*plan.borrower);
    for (size_t i = 0; i < stages_.size() && !failure_; ++i) add_stage(i);
  }

  uint64_t count() override { return count_ + (failure_ ? 1 : 0); }

  Result<EventNumber> at(uint64_t index) override {
    if (index >= count_) {
      if (failure_) return Failure(*failure_);
      return fail(ErrorKind::kMisuse,
                  fmt::format("event {} was asked for; the process has {}", index, count_));
    }
    const auto next = std::upper_bound(
        stretches_.begin(), stretches_.end(), index,
        [](uint64_t value, const Stretch& stretch) { return value < stretch.index; });
    const Stretch& stretch = *std::prev(next);
    const uint64_t offset = index - stretch.index;
    if (stretch.is_whole()) return EventNumber{stretch.first.value + offset};
    if (offset == 0) return stretch.first;
    if (offset == stretch.count - 1) return stretch.last;
    RCHK_TRY_ASSIGN(const EventRuns* const runs, runs_of(stretch));
    return runs->at(offset);
  }

  std::optional<uint64_t> find(EventNumber event) override {
    const Stretch* const stretch = stretch_at(event);
    if (stretch == nullptr || event > stretch->last) return std::nullopt;
    if (stretch->is_whole()) return stretch->index + (event.value - stretch->first.value);
    if (event == stretch->first) return stretch->index;
    if (event == stretch->last) return stretch->index + stretch->count - 1;
    const auto runs = runs_of(*stretch);
    if (!runs) return std::nullopt;  // who loads the event hears why
    const std::optional<uint64_t> offset = (*runs)->find(event);
    return offset ? std::optional(stretch->index + *offset) : std::nullopt;
  }

  uint64_t before(EventNumber event) override {
    const Stretch* const stretch = stretch_at(event);
    if (stretch == nullptr) return 0;
    if (event > stretch->last) return stretch->index + stretch->count;
    if (stretch->is_whole()) return stretch->index + (event.value - stretch->first.value);
    if (event == stretch->first) return stretch->index;
    if (event == stretch->last) return stretch->index + stretch->count - 1;
    const auto runs = runs_of(*stretch);
    return stretch->index + (runs ? (*runs)->before(event) : 0);
  }

  std::optional<uint64_t> departure() override {
    return departure_ ? find(*departure_) : std::nullopt;
  }

  Result<uint64_t> beginning() override {
    if (const auto index = find(begin_)) return *index;
    if (failure_) return Failure(*failure_);
    return fail(ErrorKind::kBadTrace,
                fmt::format("event {}, with which the process begins, is not its own", begin_));
  }

  bool is_right(EventNumber event, const Event& content) override {
    const Stretch* const stretch = stretch_at(event);
    return stretch != nullptr && is_own(stages_[stretch->stage], event, content);
  }

 private:
  // The events of a stage in one batch.
  struct Stretch {
    uint64_t index = 0;  // in the view, of the first one
    uint64_t count = 0;
    EventNumber first, last;
    size_t batch = 0;
    size_t stage = 0;
    bool is_whole() const { return last.value - first.value == count - 1; }
  };

  // Where the borrower goes on alone, or ends.
  void end_borrowing(ProcessIndex borrower) {
    const Process& process = map_.table().process(borrower);
    if (!process.programs.empty()) {
      departure_ = process.programs.front().event;
      const EventNumber end = stages_.back().end;
      stages_.back().end = *departure_;
      stages_.push_back({borrower, *departure_, end});
    } else if (process.end) {
      stages_.back().end = process.end->event.next();
    }
  }

  void add_stage(size_t number) {
    const ViewStage& stage = stages_[number];
    const std::vector<EventNumber> left = departures_from(stage);
    const std::vector<BatchRange>& batches = map_.batches();
    auto batch = std::upper_bound(
        batches.begin(), batches.end(), stage.begin,
        [](EventNumber value, const BatchRange& item) { return value < item.first; });
    if (batch != batches.begin()) --batch;
    for (; batch != batches.end() && batch->first < stage.end; ++batch) {
      Stretch stretch{count_, 0, stage.end, {}, static_cast<size_t>(batch - batches.begin()),
                      number};
      const Result<void> added = add_batch(stretch, left);
      if (!added) {
        failure_ = added.error();
        return;
      }
      if (stretch.count == 0) continue;
      count_ += stretch.count;
      stretches_.push_back(stretch);
    }
  }

  // Fills in what of a batch is the stage's.
  Result<void> add_batch(Stretch& stretch, const std::vector<EventNumber>& left) {
    const ViewStage& stage = stages_[stretch.stage];
    const BatchRange& batch = map_.batches()[stretch.batch];
    bool is_cut = false;  // the stage begins or ends in the middle
    const auto take = [&](EventNumber first, EventNumber last, uint32_t count) {
      if (last < stage.begin || first >= stage.end) return;
      is_cut = is_cut || first < stage.begin || last >= stage.end;
      stretch.first = std::min(stretch.first, first);
      stretch.last = std::max(stretch.last, last);
      stretch.count += count;
    };
    for (const SpaceShare& share : map_.shares(stretch.batch)) {
      if (map_.owner(share.space) != stage.process) continue;
      take({batch.first.value + share.first}, {batch.first.value + share.last}, share.count);
    }
    const EventNumber end{batch.first.value + batch.count};
    for (auto event = std::lower_bound(left.begin(), left.end(), batch.first);
         event != left.end() && *event < end; ++event) {
      take(*event, *event, 1);
    }
    if (!is_cut) return {};
    RCHK_TRY_ASSIGN(EventRuns runs, read_runs(stretch));
    stretch.count = runs.size();
    if (stretch.count == 0) return {};
    stretch.first = runs.at(0);
    stretch.last = runs.at(stretch.count - 1);
    runs_[stretch.index] = std::move(runs);
    return {};
  }

  // The ExecEvents by which tasks of other processes leave the memory of a stage's.
  std::vector<EventNumber> departures_from(const ViewStage& stage) const {
    std::vector<EventNumber> found;
    for (const Process& process : map_.table().processes()) {
      for (const Program& program : process.programs) {
        if (program.left == stage.process) found.push_back(program.event);
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  // The last stretch that does not begin behind an event.
  const Stretch* stretch_at(EventNumber event) const {
    const auto next = std::upper_bound(
        stretches_.begin(), stretches_.end(), event,
        [](EventNumber value, const Stretch& stretch) { return value < stretch.first; });
    return next == stretches_.begin() ? nullptr : &*std::prev(next);
  }

  bool is_own(const ViewStage& stage, EventNumber event, const Event& content) const {
    if (event < stage.begin || event >= stage.end) return false;
    if (map_.owner(content.space) == stage.process) return true;
    if (!std::holds_alternative<ExecEvent>(content.body)) return false;
    const auto owner = map_.owner(content.space);
    if (!owner) return false;
    const std::vector<Program>& programs = map_.table().process(*owner).programs;
    return std::any_of(programs.begin(), programs.end(), [&](const Program& program) {
      return program.event == event && program.left == stage.process;
    });
  }

  // Those of a stretch's batch that are its stage's.
  Result<EventRuns> read_runs(const Stretch& stretch) {
    const ViewStage& stage = stages_[stretch.stage];
    const BatchRange& batch = map_.batches()[stretch.batch];
    const uint64_t end = std::min(batch.first.value + batch.count, stage.end.value);
    EventRuns runs;
    for (EventNumber i = std::max(batch.first, stage.begin); i.value < end; i = i.next()) {
      RCHK_TRY_ASSIGN(const auto event, recording_.event(i));
      if (is_own(stage, i, *event)) runs.add(i);
    }
    return runs;
  }

  Result<const EventRuns*> runs_of(const Stretch& stretch) {
    const auto known = runs_.find(stretch.index);
    if (known != runs_.end()) return &known->second;
    RCHK_TRY_ASSIGN(EventRuns runs, read_runs(stretch));
    const bool fits = runs.size() == stretch.count && runs.at(0) == stretch.first &&
                      runs.at(stretch.count - 1) == stretch.last;
    if (!fits) {
      return fail(ErrorKind::kBadTrace,
                  fmt::format("events {} to {} are not whose the recording's list of processes "
                              "says that they are",
                              stretch.first, stretch.last));
    }
    return &runs_.emplace(stretch.index, std::move(runs)).first->second;
  }

  EventSource& recording_;
  const ProcessMap& map_;
  std::vector<ViewStage> stages_;
  const EventNumber begin_;
  std::optional<EventNumber> departure_;
  std::vector<Stretch> stretches_;  // in order
  uint64_t count_ = 0;
  std::unordered_map<uint64_t, EventRuns> runs_;  // by Stretch::index, of those that were read
  std::optional<Error> failure_;                  // nothing behind it counts
};

}  // namespace

std::unique_ptr<ViewNumbers> numbers_of_map(EventSource& recording, const ProcessMap& map,
                                            ViewNumbers::Plan plan) {
  return std::make_unique<NumbersOfMap>(recording, map, std::move(plan));
}

}  // namespace rchk::trace
