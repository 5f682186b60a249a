// The tasks of the present, and steps of one of them while others run as the log says.
//
// A task runs from one of its events to the next without another one in between, right before the
// latter (docs/notes/tasks.md). So what a task did last before a position is found by going through
// the events in front of it, and its next turn by going through those behind.

#include <algorithm>

#include "engine/timeline/timeline.h"

namespace rchk::timeline {

namespace {

Failure no_task(Tid task) {
  return fail(ErrorKind::kGone, fmt::format("there is no task {} at this point", task.value));
}

}  // namespace

bool Timeline::is_own(Tid task, EventNumber event) const {
  if (kin_ == nullptr || kin_->is_alone()) return true;
  return kin_->is_own(task, source_.global_number(event), process_);
}

bool Timeline::has_guests(EventNumber first, EventNumber last) const {
  if (kin_ == nullptr || kin_->is_alone()) return false;
  return kin_->has_guests(source_.global_number(first), source_.global_number(last));
}

EventNumber Timeline::last_event() const {
  if (at_live_end_) return {source_.event_count() - 1};
  return window_ ? window_->position(window_step_).event : guest_->position.event;
}

std::vector<Tid> Timeline::tasks_in_memory() {
  if (at_live_end_) return live_->tasks();
  std::vector<Tid> found{task_in_memory()};
  const auto& others = window_ ? window_->others(window_step_) : guest_->others;
  for (const auto& [tid, waiting] : others) found.push_back(tid);
  return found;
}

Tid Timeline::task_in_memory() {
  if (at_live_end_) {
    const std::vector<Tid> all = live_->tasks();
    return all.empty() ? Tid{} : all.front();
  }
  return window_ ? window_->task(window_step_) : guest_->tid;
}

std::vector<Tid> Timeline::tasks() {
  std::vector<Tid> found = tasks_in_memory();
  const EventNumber event = last_event();
  std::erase_if(found, [&](Tid task) { return !is_own(task, event); });
  return found;
}

Tid Timeline::running_task() {
  const Tid runs = task_in_memory();
  const EventNumber event = last_event();
  if (is_own(runs, event)) return runs;
  const Kin::Guest* const guest = kin_->guest(runs, source_.global_number(event));
  return guest != nullptr ? guest->maker : Tid{process_};
}

Result<Registers> Timeline::registers() {
  if (at_live_end_) return live_->registers(task_in_memory());
  if (window_) return window_->registers(window_step_);
  return guest_->registers;
}

Result<ExtendedState> Timeline::extended_state() {
  if (at_live_end_) return live_->extended_state(task_in_memory());
  if (window_) return window_->extended_state(window_step_);
  return guest_->puppet->extended_state();
}

Result<Registers> Timeline::registers(Tid task) {
  if (at_live_end_) return live_->registers(task);
  if (task == task_in_memory()) return registers();
  const auto& others = window_ ? window_->others(window_step_) : guest_->others;
  const auto found = others.find(task);
  if (found == others.end()) return no_task(task);
  return found->second.registers;
}

Result<ExtendedState> Timeline::extended_state(Tid task) {
  if (at_live_end_) return live_->extended_state(task);
  if (task == task_in_memory()) return extended_state();
  const auto& others = window_ ? window_->others(window_step_) : guest_->others;
  const auto found = others.find(task);
  if (found == others.end()) return no_task(task);
  return found->second.extended_state;
}

// Runs on to where the task to be stepped has its turn. Something else may stop the run before.
Result<std::optional<TimelineStop>> Timeline::run_to_task(const RunCommand& command) {
  using Answer = std::optional<TimelineStop>;
  if (command.task.value == 0 || tasks_in_memory().size() == 1) return Answer();
  RCHK_TRY_ASSIGN(const Position present, position());
  const bool in_segment =
      present.instructions > 0 || present.rep_iterations > 0 || present.anchor > 0;
  if (in_segment && task_in_memory() == command.task) return Answer();
  Position turn{EventNumber{UINT64_MAX}, 0, 0, 0};
  for (EventNumber number = present.event; number.value < source_.event_count();
       number = number.next()) {
    // All anchors behind an event are of one task.
    const replay::Anchor* anchor = next_anchor(number, 0);
    const bool to_anchor = anchor != nullptr && anchor->tid == command.task &&
                           last_anchor(number) > (number == present.event ? present.anchor : 0);
    bool to_event = false;
    if (!to_anchor && number.next().value < source_.event_count()) {
      RCHK_TRY_ASSIGN(const auto event, source_.event(number.next()));
      to_event = event->tid == command.task;
    }
    if (!to_anchor && !to_event) continue;
    turn = {number, to_anchor ? 0 : last_anchor(number), 0, 0};
    break;
  }
  if (turn <= present) return Answer();
  RCHK_TRY(stand());
  RCHK_TRY_ASSIGN(const auto found,
                  run_on(live_position_ ? std::min(turn, *live_position_) : turn, command));
  if (found && found->kind != StopKind::kHistoryEnd) return found;
  if (guest_->position == turn) return Answer();
  back_to_live(guest_->position);
  TimelineStop end;
  end.kind = StopKind::kHistoryEnd;
  return Answer(end);
}

// Where the task stopped last, at or before event `last`: behind an event of its own, or at an
// anchor.
Result<std::optional<Position>> Timeline::last_stand_of(Tid task, EventNumber last) {
  using Answer = std::optional<Position>;
  for (uint64_t value = last.value + 1; value-- > beginning_.value;) {
    const EventNumber number{value};
    const replay::Anchor* anchor = number < last ? next_anchor(number, 0) : nullptr;
    if (anchor != nullptr && anchor->tid == task) {
      return Answer(Position{number, last_anchor(number), 0, 0});
    }
    RCHK_TRY_ASSIGN(const auto event, source_.event(number));
    if (event->tid == task) return Answer(Position{number, 0, 0, 0});
  }
  return Answer();
}

// Takes back what the task did last; false where it begins.
Result<bool> Timeline::step_task_back(Tid task) {
  if (task.value == 0 || tasks_in_memory().size() == 1) return step_back();
  RCHK_TRY_ASSIGN(const Position present, position());
  const bool in_segment =
      present.instructions > 0 || present.rep_iterations > 0 || present.anchor > 0;
  if (in_segment && task_in_memory() == task) return step_back();
  RCHK_TRY_ASSIGN(const auto last, last_stand_of(task, present.event));
  if (!last) {
    RCHK_TRY(seek(beginning()));
    return false;
  }
  if (*last != present) RCHK_TRY(seek(*last));
  if (last->anchor != 0) return step_back();
  RCHK_TRY_ASSIGN(const auto event, source_.event(last->event));
  if (std::holds_alternative<trace::SpawnEvent>(event->body)) return false;  // it begins here
  return step_back();
}

}  // namespace rchk::timeline
