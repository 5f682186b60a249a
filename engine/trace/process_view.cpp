#include "engine/trace/process_view.h"

#include <algorithm>

namespace rchk::trace {

namespace {

constexpr EventNumber kNoEnd{UINT64_MAX};

}  // namespace

// What comes before a process's `end`: from the last program that it executed, or, where it has
// executed none, from where the process can be replayed that it was forked from.
std::vector<ViewStage> ProcessView::stages_before(const ProcessTable& table, ProcessIndex index,
                                                  EventNumber end) {
  std::vector<ViewStage> stages;  // the last one first
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
  std::vector<ViewStage> stages;
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
      new ProcessView(recording, {std::move(stages), begin, borrower}));
}

std::unique_ptr<ProcessView> ProcessView::of_first(EventSource& recording) {
  return std::unique_ptr<ProcessView>(
      new ProcessView(recording, {{{{0}, {0}, kNoEnd}}, {0}, std::nullopt}));
}

ProcessView::ProcessView(EventSource& recording, ViewNumbers::Plan plan)
    : PartOfRecording(recording),
      is_from_start_(plan.stages.size() == 1 && plan.stages[0].begin.value == 0),
      numbers_(recording.process_map() != nullptr
                   ? numbers_of_map(recording, *recording.process_map(), std::move(plan))
                   : numbers_of_events(recording, std::move(plan))) {}

bool ProcessView::is_everything() const {
  if (!is_from_start_) return false;
  const auto count = recording_.task_count();
  return count && count->processes == 1;
}

uint64_t ProcessView::event_count() const {
  if (is_everything()) return recording_.event_count();
  std::lock_guard lock(mutex_);
  return numbers_->count();
}

Result<std::shared_ptr<const Event>> ProcessView::event(EventNumber number) {
  if (is_everything()) return recording_.event(number);
  std::unique_lock lock(mutex_);
  RCHK_TRY_ASSIGN(const EventNumber global, numbers_->at(number.value));
  lock.unlock();
  RCHK_TRY_ASSIGN(auto event, recording_.event(global));
  lock.lock();
  if (numbers_->is_right(global, *event)) return event;
  return fail(ErrorKind::kBadTrace,
              fmt::format("event {} is not of the process that the recording's list of processes "
                          "says",
                          global));
}

EventNumber ProcessView::global_number(EventNumber number) const {
  if (is_everything()) return number;
  std::lock_guard lock(mutex_);
  return numbers_->at(number.value).value_or(EventNumber{recording_.event_count()});
}

std::optional<EventNumber> ProcessView::local_number(EventNumber global) const {
  if (is_everything()) return global;
  std::lock_guard lock(mutex_);
  const std::optional<uint64_t> index = numbers_->find(global);
  return index ? std::optional(EventNumber{*index}) : std::nullopt;
}

uint64_t ProcessView::events_before(EventNumber global) const {
  if (is_everything()) return std::min(global.value, recording_.event_count());
  std::lock_guard lock(mutex_);
  return numbers_->before(global);
}

std::optional<EventNumber> ProcessView::departure() const {
  std::lock_guard lock(mutex_);
  const std::optional<uint64_t> index = numbers_->departure();
  return index ? std::optional(EventNumber{*index}) : std::nullopt;
}

Result<EventNumber> ProcessView::beginning() {
  std::lock_guard lock(mutex_);
  RCHK_TRY_ASSIGN(const uint64_t index, numbers_->beginning());
  return EventNumber{index};
}

}  // namespace rchk::trace
