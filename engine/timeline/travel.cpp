// Moving the present of a timeline: forward, backward, and single steps.

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/check.h"
#include "engine/timeline/clock.h"
#include "engine/timeline/paced_question.h"
#include "engine/timeline/timeline.h"

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::Guest;
using replay::Outcome;
using translate::HitPolicy;

namespace {

constexpr uint64_t kSegmentEnd = UINT64_MAX;

TimelineStop stop(StopKind kind, std::string text = {}) {
  TimelineStop result;
  result.kind = kind;
  result.text = std::move(text);
  return result;
}

TimelineStop stop_at(StopKind kind, uint32_t index) {
  TimelineStop result;
  result.kind = kind;
  result.index = index;
  return result;
}

}  // namespace

bool Timeline::counts(const Condition& condition, Guest& guest) {
  if (!condition) return true;
  return condition(guest.registers, [&guest](GuestAddress address, std::span<uint8_t> bytes) {
    return guest.puppet->read_memory(address, bytes);
  });
}

// Other processes' tasks in the same memory come to breakpoints that are not theirs.
bool Timeline::counts_at(const Breakpoint& point, Guest& guest) {
  return is_own(guest.tid, guest.position.event) && counts(point.condition, guest);
}

std::string Timeline::describe_exit(EventNumber number) {
  const auto event = source_.event(number);
  if (!event) return "the program ends";
  const auto* exit = std::get_if<trace::ExitEvent>(&(*event)->body);
  if (exit == nullptr) return "the program ends";
  switch (exit->reason) {
    case trace::ExitReason::kExited:
      return fmt::format("the program is about to exit with status {}", exit->status);
    case trace::ExitReason::kKilled:
      return fmt::format("the program is about to be killed by signal {} ({})", exit->status,
                         sigabbrev_np(exit->status) ? sigabbrev_np(exit->status) : "?");
    case trace::ExitReason::kRecorderStopped:
      return "the recording ends here: " + exit->message;
  }
  return "the program ends";
}

Result<TimelineStop> Timeline::forward(const RunCommand& command) {
  RCHK_TRY_ASSIGN(TimelineStop found, move_forward(command));
  if (found.task.value == 0) found.task = running_task();
  return found;
}

Result<TimelineStop> Timeline::backward(const RunCommand& command) {
  RCHK_TRY_ASSIGN(TimelineStop found, move_backward(command));
  if (found.task.value == 0) found.task = running_task();
  return found;
}

Result<std::optional<TimelineStop>> Timeline::return_that_is_due() {
  using Answer = std::optional<TimelineStop>;
  const std::optional<Told> due = std::exchange(return_due_, std::nullopt);
  if (!due) return Answer();
  RCHK_TRY_ASSIGN(const Position present, position());
  RCHK_TRY_ASSIGN(const auto event, source_.event(due->event));
  const auto* call = std::get_if<trace::SyscallEvent>(&event->body);
  if (present != due->position || call == nullptr || !points_.catches(call->number)) {
    return Answer();
  }
  TimelineStop returned = stop(StopKind::kSyscallReturn);
  returned.number = call->number;
  returned.task = event->tid;
  return Answer(returned);
}

Result<TimelineStop> Timeline::move_forward(const RunCommand& command) {
  RCHK_TRY_ASSIGN(const auto returned, return_that_is_due());
  if (returned) return *returned;
  if (!at_live_end_) {
    RCHK_TRY_ASSIGN(TimelineStop found, forward_in_history(command));
    signal_untold_ = at_live_end_ && command.kind != RunKind::kContinue;
    // The end of history is no stop while the program lives on.
    if (found.kind != StopKind::kHistoryEnd || !at_live_end_) return found;
    if (command.kind != RunKind::kContinue) {
      signal_untold_ = false;
      if (const auto signal = signal_at_live_end()) return *signal;
    } else {
      // The run comes to what stopped the live program there.
      RCHK_TRY_ASSIGN(const auto here, stop_at_live_end());
      if (here) return *here;
    }
  } else if (signal_untold_) {
    signal_untold_ = false;
    if (const auto signal = signal_at_live_end()) return *signal;
  }
  signal_untold_ = false;
  RCHK_TRY_ASSIGN(TimelineStop found, forward_live(command));
  if (!live_->running()) {
    // What is left is the history.
    live_ = nullptr;
    live_position_.reset();
    at_live_end_ = false;
    RCHK_TRY_ASSIGN(guest_, guest_at({{UINT64_MAX}, 0, 0, 0}, false));
  }
  return found;
}

// One that the program gets when it goes on; those that came here from history have yet to hear of
// it.
std::optional<TimelineStop> Timeline::signal_at_live_end() {
  const std::optional<int> signal = live_->signal_to_come();
  if (!signal || (points_.quiet_signals >> (*signal - 1) & 1) != 0) return std::nullopt;
  TimelineStop found = stop(StopKind::kSignal);
  found.number = *signal;
  return found;
}

Result<std::optional<TimelineStop>> Timeline::stop_at_live_end() {
  using Answer = std::optional<TimelineStop>;
  if (auto signal = signal_at_live_end()) return signal;
  RCHK_TRY_ASSIGN(const Registers now, live_->registers(running_task()));
  for (uint32_t i = 0; i < points_.breakpoints.size(); ++i) {
    const Breakpoint& point = points_.breakpoints[i];
    if (point.address != now.pc()) continue;
    const bool holds =
        !point.condition || point.condition(now, [this](GuestAddress at, std::span<uint8_t> to) {
          return live_->read_memory(at, to);
        });
    if (holds) return Answer(stop_at(StopKind::kBreakpoint, i));
  }
  return Answer();
}

Result<TimelineStop> Timeline::forward_live(const RunCommand& command) {
  if (command.kind != RunKind::kContinue || live_->can_stop_at(points_)) {
    live_position_.reset();
    return live_->run(command, points_);
  }
  return run_ahead(command);
}

// Watchpoints that the machine has no means for: the program runs ahead without them, and what it
// did is searched. The user is then in history, a moment before the live end.
Result<TimelineStop> Timeline::run_ahead(const RunCommand& command) {
  constexpr int64_t kAheadNs = 100'000'000;
  StopPoints reachable;
  for (;;) {
    RCHK_TRY(enter_history());
    live_position_.reset();
    const int64_t until_ns = now_ns() + kAheadNs;
    RunCommand ahead;
    ahead.interrupted = [&] {
      return now_ns() >= until_ns || (command.interrupted && command.interrupted());
    };
    RCHK_TRY_ASSIGN(const TimelineStop live_stop, live_->run(ahead, reachable));
    if (!live_->running()) return live_stop;
    RCHK_TRY_ASSIGN(live_position_, live_->position());
    RunCommand search = command;
    RCHK_TRY_ASSIGN(const TimelineStop found, continue_in_history(search));
    if (found.kind != StopKind::kHistoryEnd || !at_live_end_) return found;
    if (live_stop.kind != StopKind::kInterrupted) return live_stop;
    if (command.interrupted && command.interrupted()) return live_stop;
  }
}

Result<bool> Timeline::record_more(const std::function<bool()>& interrupted, AtEnd at_end) {
  constexpr int64_t kAheadNs = 50'000'000;
  const int64_t until_ns = now_ns() + kAheadNs;
  const auto enough = [&] { return now_ns() >= until_ns || (interrupted && interrupted()); };
  if (beyond_ != nullptr) {
    RCHK_TRY_ASSIGN(const bool goes_on, beyond_->run_beyond(enough));
    if (!goes_on) beyond_ = nullptr;
    return goes_on;
  }
  if (live_ == nullptr) return false;
  if (at_live_end_) RCHK_TRY(enter_history());
  live_position_.reset();
  StopPoints none;
  none.quiet_signals = ~uint64_t{0};
  RunCommand ahead;
  ahead.interrupted = enough;
  RCHK_TRY_ASSIGN(const TimelineStop found, live_->run(ahead, none));
  if (!live_->running()) {
    live_ = nullptr;
    return false;
  }
  if (found.kind == StopKind::kExiting && at_end == AtEnd::kGoBeyond) {
    beyond_ = std::exchange(live_, nullptr);
    return record_more(interrupted, at_end);
  }
  RCHK_TRY_ASSIGN(live_position_, live_->position());
  return found.kind != StopKind::kExiting;
}

Result<TimelineStop> Timeline::forward_in_history(const RunCommand& command) {
  if (command.kind == RunKind::kContinue) return continue_in_history(command);
  bool begun = false;  // an instruction, of which a part ran
  for (;;) {
    RCHK_TRY_ASSIGN(const auto other, run_to_task(command));
    if (other) return *other;
    RCHK_TRY_ASSIGN(Step step, step_in_history(command.task));
    TimelineStop& found = step.stop;
    if (found.kind == StopKind::kStepped) found.task = command.task;
    const bool whole = step.extent == Extent::kWhole;
    begun |= step.extent == Extent::kPart;
    // Where the live program stands: there the step goes on if nothing has come of it yet.
    if (at_live_end_ && !whole && !begun) return stop(StopKind::kHistoryEnd);
    if (found.kind != StopKind::kStepped || at_live_end_) return found;
    if (whole && command.kind == RunKind::kStep) return found;
    if (command.interrupted && command.interrupted()) return stop(StopKind::kInterrupted);
    if (!whole) continue;
    begun = false;
    RCHK_TRY_ASSIGN(const Registers now,
                    command.task.value != 0 ? registers(command.task) : registers());
    if (!command.range.contains(now.pc())) return found;
    for (uint32_t i = 0; i < points_.breakpoints.size(); ++i) {
      if (points_.breakpoints[i].address != now.pc()) continue;
      RCHK_TRY(stand());
      if (counts(points_.breakpoints[i].condition, *guest_)) {
        return stop_at(StopKind::kBreakpoint, i);
      }
    }
  }
}

// What an advance's end means to the user; nothing when the run goes on.
Result<std::optional<TimelineStop>> Timeline::stop_of(const Outcome& outcome) {
  using Answer = std::optional<TimelineStop>;
  switch (outcome.stop) {
    case AdvanceStop::kBreakpoint:
      if (!counts_at(points_.breakpoints[outcome.probe], *guest_)) return Answer();
      return Answer(stop_at(StopKind::kBreakpoint, outcome.probe));
    case AdvanceStop::kWatchpoint:
      if (!counts(points_.watches[outcome.probe].condition, *guest_)) return Answer();
      return Answer(stop_at(StopKind::kWatchpoint, outcome.probe));
    case AdvanceStop::kExit:
      return Answer(stop(StopKind::kExiting, describe_exit(outcome.event)));
    case AdvanceStop::kLimit:
      return Answer(stop(StopKind::kHistoryEnd));
    case AdvanceStop::kEndOfLog:
      return Answer(stop(StopKind::kHistoryEnd));
    case AdvanceStop::kSlice:
      return Answer(stop(StopKind::kInterrupted));
  }
  return Answer();
}

Result<TimelineStop> Timeline::continue_in_history(const RunCommand& command) {
  RCHK_TRY(stand());
  Position end = live_position_ ? *live_position_ : Position{{UINT64_MAX}, 0, 0, 0};
  if (command.until) end = std::min(end, Position{*command.until, 0, 0, 0});
  RCHK_TRY_ASSIGN(const auto found, run_on(end, command));
  back_to_live(guest_->position);
  return found ? *found : stop(StopKind::kHistoryEnd);
}

// What stops a step that is about to go over `event`.
Result<std::optional<TimelineStop>> Timeline::crossing(EventNumber event) {
  using Answer = std::optional<TimelineStop>;
  if (event.value >= source_.event_count()) return Answer();
  if (is_told(event) && !is_end(event)) return Answer();
  RCHK_TRY_ASSIGN(const auto landmark, landmark_before(event, false));
  return landmark && tell(*landmark) ? Answer(landmark->stop) : Answer();
}

// What stops a step that has gone over `event`.
Result<std::optional<TimelineStop>> Timeline::crossed(EventNumber event) {
  using Answer = std::optional<TimelineStop>;
  RCHK_TRY_ASSIGN(const auto landmark, landmark_behind(event, false));
  return landmark && tell(*landmark) ? Answer(landmark->stop) : Answer();
}

// Whether an event that a step of `task` (0: of the one that it happens to) has gone over is what
// an instruction of it did, or a signal, or that a task begins or ends. All others happen between
// instructions: they end no step.
bool Timeline::is_step(const trace::Event& event, Tid task) const {
  const auto* exec = std::get_if<trace::ExecEvent>(&event.body);
  if (exec != nullptr) return exec->pid == process_;
  if (task.value != 0 && event.tid != task) return false;
  if (const auto* call = std::get_if<trace::SyscallEvent>(&event.body)) {
    return call->after.rip != call->before.rip;  // else it is made again
  }
  if (const auto* signal = std::get_if<trace::SignalEvent>(&event.body)) {
    return signal->handler.has_value();
  }
  if (std::holds_alternative<trace::SpawnEvent>(event.body)) return task.value == 0;
  return std::holds_alternative<trace::TrapEvent>(event.body) ||
         std::holds_alternative<trace::TaskEndEvent>(event.body);
}

// What a step of `task` over an event is.
Result<Timeline::Extent> Timeline::extent_of(EventNumber number, Tid task) {
  RCHK_TRY_ASSIGN(const auto event, source_.event(number));
  return is_step(*event, task) ? Extent::kWhole : Extent::kNothing;
}

// Whether no instruction has come to its end between two positions next to each other.
bool Timeline::is_part(const Position& from, const Position& to) {
  if (to.anchor == from.anchor) return to.instructions == from.instructions;
  const replay::Anchor* const anchor = next_anchor(to.event, to.anchor - 1);
  return anchor != nullptr && anchor->segment_instructions == from.instructions;
}

Result<Timeline::Step> Timeline::step_in_window(Tid task) {
  const Position from = window_->position(window_step_);
  const Position to = window_->position(window_step_ + 1);
  if (to.event == from.event) {
    ++window_step_;
    back_to_live(to);
    return Step{stop(StopKind::kStepped), is_part(from, to) ? Extent::kPart : Extent::kWhole};
  }
  RCHK_TRY_ASSIGN(const auto before, crossing(to.event));
  if (before) return Step{*before, Extent::kWhole};
  ++window_step_;
  back_to_live(to);
  RCHK_TRY_ASSIGN(const auto behind, crossed(to.event));
  if (behind) return Step{*behind, Extent::kWhole};
  RCHK_TRY_ASSIGN(const Extent extent, extent_of(to.event, task));
  return Step{stop(StopKind::kStepped), extent};
}

// Goes on to the next position.
Result<Timeline::Step> Timeline::step_in_history(Tid task) {
  if (window_ && window_step_ < window_->last()) return step_in_window(task);
  RCHK_TRY(stand());
  if (grows_ && guest_->position.event.next().value >= source_.event_count()) {
    return Step{stop(StopKind::kHistoryEnd), Extent::kWhole};
  }
  translate::Probes probes = points_.probes(HitPolicy::kStop);
  probes.breakpoints.clear();  // a step arrives at them, it does not run into them
  RCHK_TRY(replayer_->set_probes(probes));
  const Position before = guest_->position;
  AdvanceRequest request;
  request.limit = before;
  request.limit.instructions += 1;
  request.limit.rep_iterations = 0;
  const uint64_t retired = replayer_->instructions();
  const Registers registers_before = guest_->registers;
  RCHK_TRY_ASSIGN(Outcome outcome, replayer_->advance(*guest_, request));
  const Position& after = guest_->position;
  Extent extent = Extent::kWhole;
  if (after.event == before.event && replayer_->instructions() == retired) {
    const bool begun = !same_guest_state(registers_before, guest_->registers);
    extent = begun ? Extent::kPart : Extent::kNothing;
  }
  if (outcome.stop == AdvanceStop::kLimit && guest_->position == before) {
    RCHK_TRY_ASSIGN(const auto due, crossing(before.event.next()));
    if (due) return Step{*due, Extent::kWhole};
    request.limit = {before.event.next(), 0, 0, 0};
    RCHK_TRY_ASSIGN(outcome, replayer_->advance(*guest_, request));
  }
  const EventNumber event = guest_->position.event;
  const bool is_live = back_to_live(guest_->position);
  if (event != before.event) {
    RCHK_TRY_ASSIGN(extent, extent_of(event, task));
    if (outcome.stop == AdvanceStop::kLimit) {
      RCHK_TRY_ASSIGN(const auto behind, crossed(event));
      if (behind) return Step{*behind, Extent::kWhole};
    }
  }
  if (is_live || outcome.stop == AdvanceStop::kLimit) {
    return Step{stop(StopKind::kStepped), extent};
  }
  RCHK_TRY_ASSIGN(const auto found, stop_of(outcome));
  return found ? Step{*found, Extent::kWhole} : Step{stop(StopKind::kStepped), extent};
}

// What stops a step back that has come from `from`: another program is in memory now.
Result<std::optional<TimelineStop>> Timeline::crossed_back(const Position& from) {
  using Answer = std::optional<TimelineStop>;
  RCHK_TRY_ASSIGN(const Position present, position());
  const EventNumber next = present.event.next();
  if (next > from.event) return Answer();
  RCHK_TRY_ASSIGN(const auto event, source_.event(next));
  if (!std::holds_alternative<trace::ExecEvent>(event->body)) return Answer();
  RCHK_TRY_ASSIGN(const auto landmark, landmark_before(next, true));
  return landmark && tell(*landmark) ? Answer(landmark->stop) : Answer();
}

Result<TimelineStop> Timeline::move_backward(const RunCommand& command) {
  told_.reset();
  if (at_live_end_) {
    const bool at_signal = live_->signal_info().has_value();
    RCHK_TRY(enter_history());
    // The event of a fatal signal is in the log when the user is told of it.
    RCHK_TRY_ASSIGN(const Position present, position());
    RCHK_TRY_ASSIGN(const auto event, source_.event(present.event));
    const bool logged = std::holds_alternative<trace::SignalEvent>(event->body);
    if (at_signal && logged) told_ = Told{present, present.event};
  }
  if (command.kind == RunKind::kContinue) return continue_backward(command);
  TimelineStop stepped = stop(StopKind::kStepped);
  stepped.task = command.task;
  bool taken_back = false;  // an instruction, or the rest of it
  for (;;) {
    RCHK_TRY_ASSIGN(const Position from, position());
    RCHK_TRY_ASSIGN(const StepBack back, step_task_back(command.task));
    if (!back.moved) {
      stepped.kind = StopKind::kHistoryBegin;
      const std::vector<Tid> all = tasks();
      if (std::find(all.begin(), all.end(), stepped.task) == all.end()) stepped.task = {};
      return stepped;
    }
    RCHK_TRY_ASSIGN(const auto former_program, crossed_back(from));
    if (former_program) return *former_program;
    taken_back |= !back.event || is_step(*back.event, command.task);
    bool in_midst = true;
    if (taken_back) {
      RCHK_TRY_ASSIGN(in_midst, stands_in_instruction(command.task));
    }
    if (!in_midst && command.kind == RunKind::kStep) return stepped;
    if (command.interrupted && command.interrupted()) return stop(StopKind::kInterrupted);
    if (in_midst) continue;
    taken_back = false;
    RCHK_TRY_ASSIGN(const Registers now,
                    command.task.value != 0 ? registers(command.task) : registers());
    if (!command.range.contains(now.pc())) return stepped;
  }
}

// The point of an anchor, told as the end of the segment that it ends. A replay looks for the
// anchor unless one has been there before.
Result<Position> Timeline::end_of_segment_before(const Position& anchored) {
  replay::Anchor* here = nullptr;
  uint32_t previous = 0;
  for (uint32_t number = 0; (here = next_anchor(anchored.event, number)) != nullptr;
       number = here->number) {
    if (here->number == anchored.anchor) break;
    previous = here->number;
  }
  RCHK_CHECK(here != nullptr, "no anchor at {}", anchored);
  if (!here->segment_instructions) {
    const Checkpoint* base = checkpoints_.before(anchored);
    RCHK_CHECK(base != nullptr, "no checkpoint before {}", anchored);
    RCHK_TRY_ASSIGN(Guest guest, base->guest.fork());
    RCHK_TRY(replayer_->set_probes({}));
    AdvanceRequest request;
    request.limit = anchored;
    int64_t at_ns = base->at_ns;
    RCHK_TRY(advance(guest, request, at_ns, {}, kCheckpointOftenNs));
    if (!here->segment_instructions) {
      return fail(ErrorKind::kDivergence,
                  fmt::format("the point {} was not found again in a replay", anchored));
    }
  }
  return Position{anchored.event, previous, *here->segment_instructions,
                  here->segment_rep_iterations};
}

Result<std::optional<Position>> Timeline::position_before(const Position& position) {
  using Answer = std::optional<Position>;
  Position result = position;
  if (result.rep_iterations > 0) {
    result.rep_iterations = 0;
    return Answer(result);
  }
  if (result.instructions > 0) {
    --result.instructions;
    return Answer(result);
  }
  if (result.anchor > 0) {
    RCHK_TRY_ASSIGN(const Position same, end_of_segment_before(position));
    return position_before(same);
  }
  if (result.event.value == 0) return Answer();
  const EventNumber before{result.event.value - 1};
  return Answer(Position{before, last_anchor(before), kSegmentEnd, 0});
}

// Moves the present to the position before; not at the start of history.
Result<Timeline::StepBack> Timeline::step_back() {
  RCHK_TRY_ASSIGN(const Position present, position());
  if (present <= beginning()) return StepBack{};
  StepBack back{true, nullptr};
  if (window_ && window_step_ > 0) {
    --window_step_;
  } else {
    RCHK_TRY_ASSIGN(const auto target, position_before(present));
    if (!target) return StepBack{};
    RCHK_TRY_ASSIGN(const bool windowed, window_before(present));
    if (!windowed) RCHK_TRY(seek(*target));
  }
  RCHK_TRY_ASSIGN(const Position before, position());
  if (before.event != present.event) {
    RCHK_TRY_ASSIGN(back.event, source_.event(present.event));
  }
  return back;
}

// Makes a window that ends in `present` and puts the user one step before its end. False when
// the step before cannot be undone.
Result<bool> Timeline::window_before(const Position& present) {
  constexpr uint64_t kWindowInstructions = 1000;
  RCHK_TRY_ASSIGN(const auto target, position_before(present));
  Position end = *target;
  if (end.instructions == kSegmentEnd) {
    RCHK_TRY_ASSIGN(const Guest guest, guest_at(end, true));
    end = guest.position;
  }
  Position start = end;
  start.rep_iterations = 0;
  start.instructions -= std::min(start.instructions, kWindowInstructions);
  RCHK_TRY_ASSIGN(Guest guest, guest_at(start, true));
  RCHK_TRY_ASSIGN(Window window, Window::record(*replayer_, std::move(guest), present));
  const auto step = window.find(end);
  if (!step) return false;
  guest_.reset();
  window_ = std::move(window);
  window_step_ = *step;
  return true;
}

}  // namespace rchk::timeline
