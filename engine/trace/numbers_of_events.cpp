#include "engine/trace/event_runs.h"
#include "engine/trace/view_numbers.h"

namespace rchk::trace {

namespace {

class NumbersOfEvents final : public ViewNumbers {
 public:
  NumbersOfEvents(EventSource& recording, Plan plan)
      : recording_(recording), plan_(std::move(plan)) {}

  // One more, which fails to load: a recording that cannot be is no recording that ends.
  uint64_t count() override {
    catch_up();
    return runs_.size() + (failure_ ? 1 : 0);
  }

  Result<EventNumber> at(uint64_t index) override {
    if (index >= runs_.size()) catch_up();
    if (index < runs_.size()) return runs_.at(index);
    if (failure_) return Failure(*failure_);
    return fail(ErrorKind::kMisuse,
                fmt::format("event {} was asked for; the process has {}", index, runs_.size()));
  }

  std::optional<uint64_t> find(EventNumber event) override {
    if (event.value >= table_.event_count()) catch_up();
    return runs_.find(event);
  }

  uint64_t before(EventNumber event) override {
    if (event.value > table_.event_count()) catch_up();
    return runs_.before(event);
  }

  std::optional<uint64_t> departure() override { return departure_; }

  Result<uint64_t> beginning() override {
    catch_up();
    if (beginning_) return *beginning_;
    if (failure_) return Failure(*failure_);
    return fail(ErrorKind::kMisuse, "the process has not begun");
  }

  bool is_right(EventNumber, const Event&) override { return true; }

 private:
  // Takes in what the recording has by now.
  void catch_up() {
    const uint64_t count = recording_.event_count();
    while (!failure_ && !ended_ && table_.event_count() < count) {
      const EventNumber number{table_.event_count()};
      const auto event = recording_.event(number);
      if (!event) {
        failure_ = event.error();
        return;
      }
      const auto owners = table_.add(**event);
      if (!owners) {
        failure_ = owners.error();
        return;
      }
      take_in(number, *owners);
    }
  }

  void take_in(EventNumber number, const ProcessTable::Owners& owners) {
    while (number >= plan_.stages[stage_].end) ++stage_;
    const ViewStage& stage = plan_.stages[stage_];
    if (number < stage.begin) return;
    const auto& borrower = plan_.borrower;
    if (borrower && !departure_ && owners.memory == *borrower) departure_ = runs_.size();
    const ProcessIndex process = departure_ ? *borrower : stage.process;
    if (owners.memory != process && owners.left != process) return;
    if (number == plan_.begin) beginning_ = runs_.size();
    runs_.add(number);
    ended_ = borrower && !departure_ && has_ended(*borrower);
  }

  bool has_ended(ProcessIndex process) const {
    const std::vector<Process>& all = table_.processes();
    return process.value < all.size() && all[process.value].end.has_value();
  }

  EventSource& recording_;
  const Plan plan_;
  ProcessTable table_;
  size_t stage_ = 0;
  EventRuns runs_;
  std::optional<uint64_t> beginning_, departure_;
  bool ended_ = false;            // the borrower has: no more events count
  std::optional<Error> failure_;  // nothing behind it counts
};

}  // namespace

std::unique_ptr<ViewNumbers> numbers_of_events(EventSource& recording, ViewNumbers::Plan plan) {
  return std::make_unique<NumbersOfEvents>(recording, std::move(plan));
}

}  // namespace rchk::trace
