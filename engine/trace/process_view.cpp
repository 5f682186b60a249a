#include "engine/trace/process_view.h"

#include <algorithm>

namespace rchk::trace {

namespace {

constexpr EventNumber kNoEnd{UINT64_MAX};

}  // namespace

// What comes before a process's `end`: from the last program that it executed, or, where it has
// executed none, from where the process can be replayed that it was forked from.
std::vector<ProcessView::Stage> ProcessView::stages_before(const ProcessTable& table,
                                                           ProcessIndex index, EventNumber end) {
  std::vector<Stage> stages;  // the last one first
  for (bool complete = false; !complete;) {
    const Process& process = table.process(index);
    EventNumber begin = process.begin;
    complete = !process.memory_from;
    for (const Program& program : process.programs) {
      if (program.event >= end) break;
      begin = program.event;
      complete = true;
    }
    stages.push_back({index, begin, end});
    // A process stands behind the one that it was made from in the table, so this ends.
    if (!complete) index = *process.memory_from;
    end = begin;
  }
  std::reverse(stages.begin(), stages.end());
  return stages;
}

Result<std::unique_ptr<ProcessView>> ProcessView::create(EventSource& recording,
                                                         const ProcessTable& table,
                                                         ProcessIndex index, Start start) {
  const Process& process = table.process(index);
  std::vector<Stage> stages;
  EventNumber begin = process.begin;
  std::optional<ProcessIndex> borrower;
  const bool from_program = start == Start::kProgram || process.origin == ProcessOrigin::kFirst ||
                            process.is_resumed ||
                            (start == Start::kFork && process.origin == ProcessOrigin::kVfork);
  if (from_program && !process.programs.empty()) {
    begin = process.programs.front().event;
    stages = {{index, begin, kNoEnd}};
  } else if (start == Start::kBorrowed && process.origin == ProcessOrigin::kVfork) {
    stages = stages_before(table, *process.memory_from, process.begin);
    stages.back().end = kNoEnd;
    borrower = index;
  } else if (process.origin == ProcessOrigin::kVfork) {
    return fail(ErrorKind::kMisuse,
                fmt::format("process {} was made by vfork and executed no program: it is a part of "
                            "process {}",
                            process.pid, table.process(*process.memory_from).pid));
  } else {
    stages = stages_before(table, *process.memory_from, process.begin);
    stages.push_back({index, process.begin, kNoEnd});
  }
  return std::unique_ptr<ProcessView>(
      new ProcessView(recording, std::move(stages), begin, borrower));
}

std::unique_ptr<ProcessView> ProcessView::of_first(EventSource& recording) {
  return std::unique_ptr<ProcessView>(
      new ProcessView(recording, {{{0}, {0}, kNoEnd}}, {0}, std::nullopt));
}

bool ProcessView::is_everything() const {
  const bool is_first = stages_.size() == 1 && stages_[0].begin.value == 0;
  if (!is_first) return false;
  const auto count = recording_.task_count();
  return count && count->processes == 1;
}

void ProcessView::catch_up() const {
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
    while (number >= stages_[stage_].end) ++stage_;
    const Stage& stage = stages_[stage_];
    if (number < stage.begin) continue;
    const bool departs = borrower_ && !departure_ && owners->memory == *borrower_;
    if (departs) departure_ = EventNumber{runs_.size()};
    const ProcessIndex process = departure_ ? *borrower_ : stage.process;
    if (owners->memory != process && owners->left != process) continue;
    if (number == begin_) beginning_ = runs_.size();
    runs_.add(number);
    ended_ = borrower_ && !departure_ && has_ended(*borrower_);
  }
}

bool ProcessView::has_ended(ProcessIndex process) const {
  const std::vector<Process>& all = table_.processes();
  return process.value < all.size() && all[process.value].end.has_value();
}

uint64_t ProcessView::event_count() const {
  if (is_everything()) return recording_.event_count();
  std::lock_guard lock(mutex_);
  catch_up();
  // One more, which fails to load: a recording that cannot be is no recording that ends.
  return runs_.size() + (failure_ ? 1 : 0);
}

Result<std::shared_ptr<const Event>> ProcessView::event(EventNumber number) {
  if (is_everything()) return recording_.event(number);
  EventNumber global;
  {
    std::lock_guard lock(mutex_);
    if (number.value >= runs_.size()) catch_up();
    if (number.value >= runs_.size()) {
      if (failure_) return Failure(*failure_);
      return fail(ErrorKind::kMisuse,
                  fmt::format("event {} was asked for; the process has {}", number, runs_.size()));
    }
    global = runs_.at(number.value);
  }
  return recording_.event(global);
}

EventNumber ProcessView::global_number(EventNumber number) const {
  if (is_everything()) return number;
  std::lock_guard lock(mutex_);
  return number.value < runs_.size() ? runs_.at(number.value) : EventNumber{table_.event_count()};
}

std::optional<EventNumber> ProcessView::local_number(EventNumber global) const {
  if (is_everything()) return global;
  std::lock_guard lock(mutex_);
  if (global.value >= table_.event_count()) catch_up();
  const std::optional<uint64_t> index = runs_.find(global);
  return index ? std::optional(EventNumber{*index}) : std::nullopt;
}

std::optional<EventNumber> ProcessView::departure() const {
  std::lock_guard lock(mutex_);
  return departure_;
}

Result<EventNumber> ProcessView::beginning() {
  std::lock_guard lock(mutex_);
  catch_up();
  if (beginning_) return EventNumber{*beginning_};
  if (failure_) return Failure(*failure_);
  return fail(ErrorKind::kMisuse, "the process has not begun");
}

}  // namespace rchk::trace
