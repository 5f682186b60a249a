// The tasks of the present, and steps of one of them while others run as the log says.
//
// A task runs from one of its events to the next without another one in between, right before the
// latter (docs/notes/tasks.md). So what a task did last before a position is found by going through
// the events in front of it, and its next turn by going through those behind.

#include <algorithm>

#include "engine/timeline/timeline.h"

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::Outcome;
using translate::HitPolicy;

namespace {

Failure no_task(Tid task) {
  return fail(ErrorKind::kGone, fmt::format("there is no task {} at this point", task.value));
}

}  // namespace

std::vector<Tid> Timeline::tasks() {
  if (at_live_end_) return live_->tasks();
  std::vector<Tid> found{running_task()};
  const auto& others = window_ ? window_->others(window_step_) : guest_->others;
  for (const auto& [tid, waiting] : others) found.push_back(tid);
  return found;
}

Tid Timeline::running_task() {
  if (at_live_end_) {
    const std::vector<Tid> all = live_->tasks();
    return all.empty() ? Tid{} : all.front();
  }
  return window_ ? window_->task(window_step_) : guest_->tid;
}

Result<Registers> Timeline::registers() {
  if (at_live_end_) return live_->registers(running_task());
  if (window_) return window_->registers(window_step_);
  return guest_->registers;
}

Result<ExtendedState> Timeline::extended_state() {
  if (at_live_end_) return live_->extended_state(running_task());
  if (window_) return window_->extended_state(window_step_);
  return guest_->puppet->extended_state();
}

Result<Registers> Timeline::registers(Tid task) {
  if (at_live_end_) return live_->registers(task);
  if (task == running_task()) return registers();
  const auto& others = window_ ? window_->others(window_step_) : guest_->others;
  const auto found = others.find(task);
  if (found == others.end()) return no_task(task);
  return found->second.registers;
}

Result<ExtendedState> Timeline::extended_state(Tid task) {
  if (at_live_end_) return live_->extended_state(task);
  if (task == running_task()) return extended_state();
  const auto& others = window_ ? window_->others(window_step_) : guest_->others;
  const auto found = others.find(task);
  if (found == others.end()) return no_task(task);
  return found->second.extended_state;
}

// Runs on to where the task to be stepped has its turn. Something else may stop the run before.
Result<std::optional<TimelineStop>> Timeline::run_to_task(const RunCommand& command) {
  using Answer = std::optional<TimelineStop>;
  if (command.task.value == 0 || tasks().size() == 1) return Answer();
  RCHK_TRY_ASSIGN(const Position present, position());
  const bool in_segment =
      present.instructions > 0 || present.rep_iterations > 0 || present.anchor > 0;
  if (in_segment && running_task() == command.task) return Answer();
  Position turn{EventNumber{UINT64_MAX}, 0, 0, 0};
  for (EventNumber next = present.event.next(); next.value < source_.event_count();
       next = next.next()) {
    RCHK_TRY_ASSIGN(const auto event, source_.event(next));
    if (event->tid != command.task) continue;
    turn = {EventNumber{next.value - 1}, 0, 0, 0};
    break;
  }
  if (turn <= present) return Answer();
  RCHK_TRY(stand());
  RCHK_TRY(replayer_->set_probes(points_.probes(HitPolicy::kStop)));
  AdvanceRequest request;
  request.stop_at_signals = true;
  request.limit = live_position_ ? std::min(turn, *live_position_) : turn;
  for (;;) {
    RCHK_TRY_ASSIGN(const Outcome outcome,
                    advance(*guest_, request, present_ns_, command.interrupted));
    if (outcome.stop == AdvanceStop::kLimit && guest_->position == turn) return Answer();
    RCHK_TRY_ASSIGN(const auto found, stop_of(outcome));
    if (found) {
      if (found->kind == StopKind::kHistoryEnd) back_to_live(guest_->position);
      return found;
    }
    request.report_at_start = false;
  }
}

// The last event at or before `last` that is the task's.
Result<std::optional<EventNumber>> Timeline::last_event_of(Tid task, EventNumber last) {
  using Answer = std::optional<EventNumber>;
  for (uint64_t number = last.value + 1; number-- > 0;) {
    RCHK_TRY_ASSIGN(const auto event, source_.event({number}));
    if (event->tid == task) return Answer(EventNumber{number});
  }
  return Answer();
}

// Takes back what the task did last; false when it had not begun.
Result<bool> Timeline::step_task_back(Tid task) {
  if (task.value == 0 || tasks().size() == 1) return step_back();
  RCHK_TRY_ASSIGN(const Position present, position());
  const bool in_segment =
      present.instructions > 0 || present.rep_iterations > 0 || present.anchor > 0;
  if (in_segment && running_task() == task) return step_back();
  RCHK_TRY_ASSIGN(const auto last, last_event_of(task, present.event));
  if (!last) {
    RCHK_TRY(seek({}));
    return false;
  }
  if (*last != present.event || in_segment) RCHK_TRY(seek({*last, 0, 0, 0}));
  return step_back();
}

}  // namespace rchk::timeline
