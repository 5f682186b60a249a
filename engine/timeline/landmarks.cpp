// Landmarks: places of the log where a run stops by itself, whatever instructions run there. A
// signal that arrives, a system call's begin and end, an execve.
//
// They are found by reading the log, so going back to one costs no search. A place in front of an
// event is told as the end of the segment before it.

#include <algorithm>

#include <sys/wait.h>

#include "engine/timeline/paced_question.h"
#include "engine/timeline/timeline.h"

namespace rchk::timeline {

using replay::AdvanceRequest;
using replay::AdvanceStop;
using replay::Outcome;
using translate::HitPolicy;

namespace {

constexpr uint64_t kSegmentEnd = UINT64_MAX;

TimelineStop stop_of_task(StopKind kind, int number, Tid task) {
  TimelineStop stop;
  stop.kind = kind;
  stop.number = number;
  stop.task = task;
  return stop;
}

std::string describe_end(const trace::TaskEndEvent& end) {
  if (WIFSIGNALED(end.status)) {
    return fmt::format("the program is about to be killed by signal {}", WTERMSIG(end.status));
  }
  return fmt::format("the program is about to exit with status {}", WEXITSTATUS(end.status));
}

}  // namespace

// A process that was made, or the return of a vfork.
std::optional<TimelineStop> Timeline::kin_stop(EventNumber event) {
  if (kin_ == nullptr || kin_->forks.empty()) return std::nullopt;
  const EventNumber number = source_.global_number(event);
  const auto fork = kin_->forks.find(number);
  if (fork != kin_->forks.end() && points_.forks && points_.forks(fork->second)) {
    return stop_of_task(fork->second.vfork ? StopKind::kVfork : StopKind::kFork, fork->second.pid,
                        fork->second.maker);
  }
  const auto done = kin_->vforks_done.find(number);
  if (done != kin_->vforks_done.end() && points_.vforks_done && points_.vforks_done(done->second)) {
    return stop_of_task(StopKind::kVforkDone, done->second.pid, done->second.maker);
  }
  return std::nullopt;
}

// The end of a child of vfork in memory that is its parent's: its history goes no further.
bool Timeline::is_end(EventNumber event) const {
  return kin_ != nullptr && kin_->end && kin_->end == source_.global_number(event);
}

Result<std::optional<Timeline::Landmark>> Timeline::landmark_before(EventNumber number,
                                                                    bool going_back) {
  using Answer = std::optional<Landmark>;
  if (number.value == 0) return Answer();
  RCHK_TRY_ASSIGN(const auto event, source_.event(number));
  const EventNumber before{number.value - 1};
  Landmark landmark{{before, last_anchor(before), kSegmentEnd, 0}, number, true, {}};
  if (is_end(number) && !going_back) {
    landmark.stop = stop_of_task(StopKind::kExiting, 0, event->tid);
    landmark.stop.text = describe_end(std::get<trace::TaskEndEvent>(event->body));
    return Answer(landmark);
  }
  const bool own = is_own(event->tid, before);
  if (!own && !std::holds_alternative<trace::ExecEvent>(event->body)) return Answer();
  if (const auto* signal = std::get_if<trace::SignalEvent>(&event->body)) {
    if (points_.is_quiet(signal->number)) return Answer();
    landmark.stop = stop_of_task(StopKind::kSignal, signal->number, event->tid);
    return Answer(landmark);
  }
  if (const auto* call = std::get_if<trace::SyscallEvent>(&event->body)) {
    if (!points_.catches(call->number)) return Answer();
    landmark.stop = stop_of_task(StopKind::kSyscallEntry, call->number, event->tid);
    return Answer(landmark);
  }
  if (const auto* change = std::get_if<trace::SwitchEvent>(&event->body)) {
    const auto call = static_cast<int32_t>(change->registers.rax);
    if (change->place != trace::Place::kAtCall || !points_.catches(call)) return Answer();
    landmark.stop = stop_of_task(StopKind::kSyscallEntry, call, event->tid);
    return Answer(landmark);
  }
  const auto* exec = std::get_if<trace::ExecEvent>(&event->body);
  if (exec == nullptr || exec->pid != process_ || !going_back) return Answer();
  RCHK_TRY_ASSIGN(const auto former, program_at(before));
  landmark.stop = stop_of_task(StopKind::kExec, 0, event->tid);
  landmark.stop.text = std::get<trace::ExecEvent>(former->body).executable;
  return Answer(landmark);
}

Result<std::optional<Timeline::Landmark>> Timeline::landmark_behind(EventNumber number,
                                                                    bool going_back) {
  using Answer = std::optional<Landmark>;
  if (number.value == 0) return Answer();
  RCHK_TRY_ASSIGN(const auto event, source_.event(number));
  Landmark landmark{{number, 0, 0, 0}, number, false, {}};
  if (const auto made = going_back ? std::nullopt : kin_stop(number)) {
    landmark.stop = *made;
    return Answer(landmark);
  }
  const bool own = is_own(event->tid, {number.value - 1});
  if (!own && !std::holds_alternative<trace::ExecEvent>(event->body)) return Answer();
  if (const auto* call = std::get_if<trace::SyscallEvent>(&event->body)) {
    // One that comes back to its instruction is made again.
    const bool returned = call->after.rip != call->before.rip;
    if (!returned || !points_.catches(call->number)) return Answer();
    landmark.stop = stop_of_task(StopKind::kSyscallReturn, call->number, event->tid);
    return Answer(landmark);
  }
  const auto* exec = std::get_if<trace::ExecEvent>(&event->body);
  if (exec == nullptr || exec->pid != process_ || going_back) return Answer();
  landmark.stop = stop_of_task(StopKind::kExec, 0, event->tid);
  landmark.stop.text = exec->executable;
  return Answer(landmark);
}

// The program that runs behind `event`: the last execve.
Result<std::shared_ptr<const trace::Event>> Timeline::program_at(EventNumber event) {
  const bool known = program_ && program_->first <= event && event <= program_->last;
  if (!known) {
    EventNumber at{std::min(event.value, source_.event_count() - 1)};
    Program found{at, at, nullptr};
    // A page snapshot on the way there knows it.
    const Station* const station = stations_.at_or_before({at, 0, 0, 0});
    for (;; --at.value) {
      if (station != nullptr && at == station->event) {
        RCHK_TRY_ASSIGN(const auto taken, stations_.snapshot(*station));
        at = source_.local_number(taken->program).value_or(at);
      }
      RCHK_TRY_ASSIGN(found.event, source_.event(at));
      const auto* exec = std::get_if<trace::ExecEvent>(&found.event->body);
      if (exec != nullptr && (at.value == 0 || exec->pid == process_)) break;
      if (at.value == 0) {
        return fail(ErrorKind::kBadTrace, "event 0 is not the start of a program");
      }
    }
    found.first = at;
    program_ = std::move(found);
  }
  return program_->event;
}

// The first landmark ahead that was not told yet. Looks no further than some thousand events.
Result<Timeline::Ahead> Timeline::next_landmark() {
  constexpr uint64_t kMostEvents = 4096;
  const Position& present = guest_->position;
  EventNumber number = present.event.next();
  for (uint64_t i = 0; number.value < source_.event_count(); ++i, number = number.next()) {
    if (i == kMostEvents) return Ahead{{number, 0, 0, 0}, std::nullopt};
    if (!is_told(number) || is_end(number)) {
      RCHK_TRY_ASSIGN(const auto before, landmark_before(number, false));
      if (before) return Ahead{before->position, before};
    }
    RCHK_TRY_ASSIGN(const auto behind, landmark_behind(number, false));
    if (behind) return Ahead{behind->position, behind};
  }
  return Ahead{{{UINT64_MAX}, 0, 0, 0}, std::nullopt};
}

bool Timeline::is_told(EventNumber event) {
  const auto present = position();
  return told_ && present && told_->event == event && told_->position == *present;
}

// The last landmark in [start, end).
Result<std::optional<Timeline::Landmark>> Timeline::previous_landmark(const Position& start,
                                                                      const Position& end) {
  using Answer = std::optional<Landmark>;
  for (EventNumber number = end.event; number >= start.event; --number.value) {
    RCHK_TRY_ASSIGN(const auto behind, landmark_behind(number, true));
    if (behind && behind->position < end && behind->position >= start) return behind;
    if (number == start.event || number.value == 0) break;
    if (is_told(number)) continue;
    RCHK_TRY_ASSIGN(const auto before, landmark_before(number, true));
    if (before && before->position < end) return before;
  }
  return Answer();
}

// Makes the landmark that the present stands at the one that the user was told of. False where it
// is none: the call has begun before.
bool Timeline::tell(const Landmark& landmark) {
  const auto present = position();
  if (present) told_ = Told{*present, landmark.event};
  const bool made = landmark.stop.kind == StopKind::kFork ||
                    landmark.stop.kind == StopKind::kVfork ||
                    landmark.stop.kind == StopKind::kVforkDone;
  return_due_ = made && points_.syscalls ? told_ : std::nullopt;
  if (landmark.stop.kind != StopKind::kSyscallEntry || window_) return true;
  return !guest_->is_amid;
}

// Runs on to `limit`; nothing where it got there. REQUIRES: stand().
Result<std::optional<TimelineStop>> Timeline::run_on(const Position& limit,
                                                     const RunCommand& command) {
  using Answer = std::optional<TimelineStop>;
  RCHK_TRY(replayer_->set_probes(points_.probes(HitPolicy::kStop)));
  Position since = guest_->position;
  GuestAddress not_reported = command.goes_on ? GuestAddress{} : guest_->registers.pc();
  AdvanceRequest request;
  request.report_at_start = command.goes_on;
  PacedQuestion asked(command.interrupted);
  for (;;) {
    RCHK_TRY_ASSIGN(const Ahead ahead, next_landmark());
    request.limit = std::min(limit, ahead.position);
    RCHK_TRY_ASSIGN(const Outcome outcome,
                    advance(*guest_, request, present_ns_, command.interrupted));
    note_unvisited(since, guest_->position, breakpoint_addresses(not_reported));
    if (outcome.stop != AdvanceStop::kLimit) {
      since = guest_->position;
      not_reported = guest_->registers.pc();
    }
    if (outcome.stop == AdvanceStop::kLimit) {
      const bool told = ahead.landmark && ahead.position <= limit && tell(*ahead.landmark);
      if (told) return Answer(ahead.landmark->stop);
      if (limit <= ahead.position) return Answer();
      request.report_at_start = true;
    } else {
      RCHK_TRY_ASSIGN(const auto found, stop_of(outcome));
      if (found) return found;
      request.report_at_start = false;
    }
    if (asked.now()) {
      TimelineStop interrupted;
      interrupted.kind = StopKind::kInterrupted;
      return Answer(interrupted);
    }
  }
}

}  // namespace rchk::timeline
