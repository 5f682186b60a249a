// The tasks of the present, and steps of one of them while others run as the log says.
//
// A task runs from one of its events to the next without another one in between, right before the
// latter (docs/notes/tasks.md). So what a task did last before a position is found by going through
// the events in front of it, and its next turn by going through those behind.

#include <algorithm>

#include "base/check.h"
#include "engine/timeline/timeline.h"
#include "engine/translate/decode.h"

namespace rchk::timeline {

namespace {

constexpr uint64_t kSegmentEnd = UINT64_MAX;

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

std::string Timeline::name_of(Tid task) { return source_.task_name(last_event(), task); }

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

// Goes back to the position before what the task did last; not where it begins.
Result<Timeline::StepBack> Timeline::step_task_back(Tid task) {
  if (task.value == 0 || tasks_in_memory().size() == 1) return step_back();
  RCHK_TRY_ASSIGN(const Position present, position());
  const bool in_segment =
      present.instructions > 0 || present.rep_iterations > 0 || present.anchor > 0;
  if (in_segment && task_in_memory() == task) return step_back();
  RCHK_TRY_ASSIGN(const auto last, last_stand_of(task, present.event));
  if (!last) {
    RCHK_TRY(seek(beginning()));
    return StepBack{};
  }
  if (*last != present) RCHK_TRY(seek(*last));
  if (last->anchor != 0) return step_back();
  RCHK_TRY_ASSIGN(const auto event, source_.event(last->event));
  if (std::holds_alternative<trace::SpawnEvent>(event->body)) return StepBack{};  // it begins here
  return step_back();
}

// Whether the present is in the midst of an instruction of the task (0: of the one that runs): of a
// string instruction, or a call that has begun.
Result<bool> Timeline::stands_in_instruction(Tid task) {
  if (at_live_end_) return false;
  RCHK_TRY_ASSIGN(const Position present, position());
  const bool runs = task.value == 0 || task_in_memory() == task;
  if (runs && present.rep_iterations > 0) return true;
  if (runs && present.instructions > 0) return false;
  const Tid asked = task.value == 0 ? task_in_memory() : task;
  if (runs && present.anchor > 0) return is_in_string_instruction(present);
  for (uint64_t value = present.event.value + 1; value-- > beginning_.value;) {
    const EventNumber number{value};
    const replay::Anchor* anchor = number < present.event ? next_anchor(number, 0) : nullptr;
    if (anchor != nullptr && anchor->tid == asked) {
      return is_in_string_instruction({number, last_anchor(number), 0, 0});
    }
    RCHK_TRY_ASSIGN(const auto event, source_.event(number));
    if (event->tid != asked || std::holds_alternative<trace::MemoryEvent>(event->body) ||
        std::holds_alternative<trace::ChecksumEvent>(event->body)) {
      continue;
    }
    if (const auto* call = std::get_if<trace::SyscallEvent>(&event->body)) {
      return call->after.rip == call->before.rip;
    }
    const auto* signal = std::get_if<trace::SignalEvent>(&event->body);
    const auto* change = std::get_if<trace::SwitchEvent>(&event->body);
    if (change != nullptr && change->place == trace::Place::kAtCall) {
      // Without a task that is asked for, what others did meanwhile has steps of its own.
      return task.value != 0 || number == present.event;
    }
    const bool by_state = change != nullptr || (signal != nullptr && !signal->handler &&
                                                signal->place == trace::Place::kByState);
    return by_state ? is_in_string_instruction({number, 0, 0, 0}) : Result<bool>(false);
  }
  return false;
}

// Whether the state that an anchor, or an event by state, was found by is in the midst of a string
// instruction.
Result<bool> Timeline::is_in_string_instruction(const Position& position) {
  GuestAddress pc;
  if (position.anchor > 0) {
    const replay::Anchor* const anchor = next_anchor(position.event, position.anchor - 1);
    RCHK_CHECK(anchor != nullptr, "no anchor at {}", position);
    pc = anchor->target.registers.pc();
  } else {
    RCHK_TRY_ASSIGN(const auto event, source_.event(position.event));
    const auto* signal = std::get_if<trace::SignalEvent>(&event->body);
    pc = signal != nullptr ? signal->registers.pc()
                           : std::get<trace::SwitchEvent>(event->body).registers.pc();
  }
  uint8_t code[translate::kMaxInstructionBytes] = {};
  const size_t got = read_memory(pc, code);
  translate::Instruction instruction;
  const bool is_rep = translate::decode(code, got, instruction) == translate::DecodeStatus::kOk &&
                      instruction.rep_string;
  if (!is_rep) return false;
  if (position.anchor > 0) {
    RCHK_TRY_ASSIGN(const Position end, end_of_segment_before(position));
    return end.rep_iterations > 0;
  }
  if (const auto known = replayer_->distance_to(position.event)) return known->rep_iterations > 0;
  const EventNumber before{position.event.value - 1};
  RCHK_TRY_ASSIGN(const replay::Guest guest,
                  copy_at({before, last_anchor(before), kSegmentEnd, 0}));
  return guest.position.rep_iterations > 0;
}

}  // namespace rchk::timeline
