#include "engine/replay/replayer.h"

#include <algorithm>

#include "base/check.h"

namespace rchk::replay {

using translate::StopReason;

// What lies ahead of a guest: how the segment that it is in ends.
struct Replayer::Segment {
  enum class End : uint8_t {
    kTrap,     // the guest itself runs into the next event
    kAnchor,   // at `anchor`
    kSignal,   // at the state of the asynchronous signal `event`
    kNothing,  // the log says nothing more
  };
  End end = End::kNothing;
  std::shared_ptr<const trace::Event> event;
  Anchor* anchor = nullptr;
  StateTarget target;  // kSignal
};

namespace {

// The state that an asynchronous signal of the log found.
StateTarget target_of(const trace::SignalEvent& signal) {
  StateTarget target;
  target.registers = signal.registers;
  target.extended_state = signal.extended_state;
  for (const trace::PageContents& contents : signal.dirty) {
    for (uint64_t at = 0; at < contents.bytes.size(); at += kPageSize) {
      target.pages.push_back(contents.address + at);
    }
  }
  target.read = [&signal](GuestAddress address, std::span<uint8_t> bytes) -> size_t {
    for (const trace::PageContents& contents : signal.dirty) {
      const AddressRange range = range_of(contents.address, contents.bytes.size());
      if (!range.contains(address)) continue;
      const uint64_t offset = address - range.begin;
      const size_t count = std::min<size_t>(bytes.size(), contents.bytes.size() - offset);
      std::copy_n(contents.bytes.begin() + static_cast<ptrdiff_t>(offset), count, bytes.begin());
      return count;
    }
    return 0;
  };
  return target;
}

const char* trap_name(trace::TrappedInstruction instruction) {
  switch (instruction) {
    case trace::TrappedInstruction::kCpuid:
      return "cpuid";
    case trace::TrappedInstruction::kRdtsc:
      return "rdtsc";
    case trace::TrappedInstruction::kRdtscp:
      return "rdtscp";
  }
  return "?";
}

std::string describe_stop(const translate::Stop& stop) {
  switch (stop.reason) {
    case StopReason::kSyscall:
      return "the replay arrives at a system call";
    case StopReason::kTrapped:
      return "the replay arrives at a trapped instruction";
    case StopReason::kFault:
      return fmt::format("the replay raises signal {} for address {}", stop.signal,
                         stop.fault_address);
    case StopReason::kUnsupported:
      return fmt::format("the replay arrives at an instruction that rchk cannot translate ({})",
                         stop.detail);
    case StopReason::kInstructionLimit:
    case StopReason::kBreakpoint:
    case StopReason::kWatchpoint:
    case StopReason::kStateCandidate:
      break;
  }
  return "the replay stops";
}

}  // namespace

Result<std::unique_ptr<Replayer>> Replayer::create(trace::EventSource& source,
                                                   std::optional<int> cpu) {
  std::unique_ptr<Replayer> replayer(new Replayer(source, cpu));
  RCHK_TRY_ASSIGN(replayer->engine_, translate::Engine::create());
  RCHK_TRY_ASSIGN(replayer->contents_, ContentStore::create(source));
  return replayer;
}

Result<Guest> Replayer::start() {
  RCHK_TRY_ASSIGN(const std::shared_ptr<const trace::Event> event, source_.event({0}));
  const auto* exec = std::get_if<trace::ExecEvent>(&event->body);
  if (exec == nullptr) {
    return fail(ErrorKind::kBadTrace, "the recording does not begin with the start of a program");
  }
  Guest guest;
  RCHK_TRY(apply(guest, *exec));
  if (on_event_) RCHK_TRY(on_event_({0}, *event, guest));
  return guest;
}

Result<void> Replayer::set_probes(translate::Probes probes) {
  probes_ = probes;
  return engine_->set_probes(std::move(probes));
}

Result<Outcome> Replayer::advance(Guest& guest, const AdvanceRequest& request) {
  RCHK_TRY(engine_->attach(*guest.puppet));
  bool report_at_start = request.report_at_start;
  uint64_t budget = request.slice_instructions;
  for (;;) {
    if (guest.position >= request.limit) return Outcome{AdvanceStop::kLimit};
    RCHK_TRY_ASSIGN(const Segment segment, segment_behind(guest));
    RCHK_TRY_ASSIGN(const std::optional<Outcome> outcome,
                    run_segment(guest, request, segment, report_at_start, budget));
    if (outcome) return *outcome;
    if (budget == 0) return Outcome{AdvanceStop::kSlice};
  }
}

Result<Replayer::Segment> Replayer::segment_behind(const Guest& guest) {
  Segment segment;
  if (anchors_ != nullptr) {
    segment.anchor = anchors_->next_anchor(guest.position.event, guest.position.anchor);
    if (segment.anchor != nullptr) {
      segment.end = Segment::End::kAnchor;
      return segment;
    }
  }
  const EventNumber next = guest.position.event.next();
  if (next.value >= source_.event_count()) return segment;
  RCHK_TRY_ASSIGN(segment.event, source_.event(next));
  segment.end = Segment::End::kTrap;
  const auto* signal = std::get_if<trace::SignalEvent>(&segment.event->body);
  if (signal != nullptr && signal->place == trace::Place::kByState) {
    segment.end = Segment::End::kSignal;
    segment.target = target_of(*signal);
  }
  return segment;
}

// Runs on in the segment that the guest is in. Nothing is returned when it got to the next one, or
// the budget is used up.
Result<std::optional<Outcome>> Replayer::run_segment(Guest& guest, const AdvanceRequest& request,
                                                     const Segment& segment, bool& report_at_start,
                                                     uint64_t& budget) {
  Position& at = guest.position;
  const bool limit_is_here = request.limit.event == at.event && request.limit.anchor == at.anchor;
  if (limit_is_here && at.instructions == request.limit.instructions) {
    if (request.limit.rep_iterations > at.rep_iterations) {
      RCHK_TRY(engine_->run_rep_iterations(guest.registers,
                                           request.limit.rep_iterations - at.rep_iterations));
      at.rep_iterations = request.limit.rep_iterations;
    }
    return std::optional<Outcome>(Outcome{AdvanceStop::kLimit});
  }
  if (segment.end == Segment::End::kNothing && !limit_is_here) {
    return std::optional<Outcome>(Outcome{AdvanceStop::kEndOfLog});
  }
  if (segment.event != nullptr && at.instructions == 0 && at.rep_iterations == 0) {
    // Events that happen where another one ended need no run.
    const trace::EventBody& body = segment.event->body;
    const auto* exit = std::get_if<trace::ExitEvent>(&body);
    const auto* signal = std::get_if<trace::SignalEvent>(&body);
    const bool in_place = std::holds_alternative<trace::ChecksumEvent>(body) ||
                          (signal != nullptr && signal->place == trace::Place::kAtEvent) ||
                          (exit != nullptr && exit->place != trace::ExitPlace::kAtCall);
    const Registers* registers = exit != nullptr ? &exit->registers : nullptr;
    if (in_place || (registers != nullptr && same_guest_state(*registers, guest.registers))) {
      return take_event(guest, request, *segment.event);
    }
  }

  const Anchor* anchor = segment.anchor;
  const bool searches =
      segment.end == Segment::End::kSignal || (anchor && !anchor->segment_instructions);
  if (searches) {
    auto outcome = search_state(guest, request, segment, report_at_start, budget);
    report_at_start = true;
    return outcome;
  }

  uint64_t stretch = budget;
  bool reaches_limit = false, reaches_anchor = false;
  if (limit_is_here && request.limit.instructions - at.instructions <= stretch) {
    stretch = request.limit.instructions - at.instructions;
    reaches_limit = true;
  }
  if (anchor != nullptr && *anchor->segment_instructions - at.instructions <= stretch) {
    stretch = *anchor->segment_instructions - at.instructions;
    reaches_anchor = true;
    reaches_limit = limit_is_here && request.limit.instructions == *anchor->segment_instructions;
  }
  if (stretch > 0) {
    RCHK_TRY_ASSIGN(const translate::Stop stop, run_engine(guest, stretch, report_at_start));
    report_at_start = true;
    budget -= std::min(budget, stop.retired);
    if (stop.reason != StopReason::kInstructionLimit) {
      return at_engine_stop(guest, request, segment, stop);
    }
  }
  if (reaches_anchor &&
      !(reaches_limit && request.limit.rep_iterations < anchor->segment_rep_iterations)) {
    return cross(guest, segment, request);
  }
  // The limit or the end of the budget; the caller sees which.
  return std::optional<Outcome>();
}

// Whether the state that ends a segment is at a system call instruction. It needs no search then:
// that instruction ends the segment, so the guest comes to it once. Nor would it be found by its
// registers: the recorded guest may have executed the instruction, which overwrites rcx and r11,
// before the recorder took the call back.
bool Replayer::is_at_syscall(const StateTarget& target, const Guest& guest) {
  uint8_t code[2] = {};
  return guest.puppet->read_memory(target.registers.pc(), code) == sizeof(code) &&
         code[0] == 0x0f && code[1] == 0x05;
}

// Looks for the state that ends the segment.
Result<std::optional<Outcome>> Replayer::search_state(Guest& guest, const AdvanceRequest& request,
                                                      const Segment& segment, bool report_at_start,
                                                      uint64_t& budget) {
  const StateTarget& target = segment.anchor != nullptr ? segment.anchor->target : segment.target;
  StateMatcher matcher(target, *engine_);
  const bool at_syscall = is_at_syscall(target, guest);
  const bool limit_is_here =
      request.limit.event == guest.position.event && request.limit.anchor == guest.position.anchor;
  bool include_start = report_at_start || guest.position.instructions == 0;
  std::optional<Outcome> outcome;
  for (;;) {
    translate::Probes probes = probes_;
    if (!at_syscall) probes.state = matcher.probe();
    RCHK_TRY(engine_->set_probes(probes));
    uint64_t stretch = budget;
    if (limit_is_here) {
      stretch = std::min(stretch, request.limit.instructions - guest.position.instructions);
    }
    if (stretch == 0) break;
    RCHK_TRY_ASSIGN(const translate::Stop stop, run_engine(guest, stretch, include_start));
    budget -= std::min(budget, stop.retired);
    include_start = false;
    if (stop.reason == StopReason::kInstructionLimit) break;
    if (stop.reason == StopReason::kStateCandidate) {
      RCHK_TRY_ASSIGN(const auto match, matcher.examine(guest));
      if (!match) continue;
      if (segment.anchor != nullptr) {
        segment.anchor->segment_instructions = guest.position.instructions;
        segment.anchor->segment_rep_iterations = match->rep_iterations;
      }
      RCHK_TRY_ASSIGN(outcome, cross(guest, segment, request));
      break;
    }
    outcome = probe_outcome(guest, stop);
    if (outcome) break;
    if (at_syscall && stop.reason == StopReason::kSyscall) {
      segment.anchor->segment_instructions = guest.position.instructions;
      RCHK_TRY_ASSIGN(outcome, cross(guest, segment, request));
      break;
    }
    return divergence(
        guest, describe_stop(stop) + fmt::format(" before the recorded state at pc {} was found "
                                                 "({} candidates)\n",
                                                 target.registers.pc(), matcher.candidates()));
  }
  RCHK_TRY(engine_->set_probes(probes_));
  return outcome;
}

// Goes over the end of a segment whose end is a state: an anchor or an asynchronous signal.
Result<std::optional<Outcome>> Replayer::cross(Guest& guest, const Segment& segment,
                                               const AdvanceRequest& request) {
  if (segment.anchor == nullptr) return take_event(guest, request, *segment.event);
  const uint64_t iterations = segment.anchor->segment_rep_iterations;
  if (iterations > guest.position.rep_iterations) {
    RCHK_TRY(engine_->attach(*guest.puppet));
    RCHK_TRY(
        engine_->run_rep_iterations(guest.registers, iterations - guest.position.rep_iterations));
  }
  const StateTarget& target = segment.anchor->target;
  RCHK_TRY(check_registers(guest, target.registers, is_at_syscall(target, guest)));
  guest.position = {guest.position.event, segment.anchor->number, 0, 0};
  return std::optional<Outcome>();
}

Result<translate::Stop> Replayer::run_engine(Guest& guest, uint64_t limit, bool report_at_start) {
  // The engine counts in a signed register: leave room.
  constexpr uint64_t kLongestRun = 1ull << 62;
  uint64_t left = std::min(limit, kLongestRun);
  uint64_t retired = 0;
  for (;;) {
    auto stop = engine_->run(guest.registers, {left, report_at_start});
    if (!stop) {
      return fail_with(stop.error(), fmt::format("replay at position {}", guest.position));
    }
    if (const std::optional<translate::Hit> hit = engine_->last_hit()) {
      Position position = guest.position;
      position.instructions += hit->retired;
      position.rep_iterations = 0;
      last_hit_ = FoundHit{position, hit->is_watchpoint, hit->probe};
    }
    bool answered = false;
    std::optional<uint32_t> written;  // the watchpoint
    if (stop->reason == StopReason::kTrapped) {
      answered = answer_cpuid(guest);
      if (!answered) {
        const std::vector<WatchedBytes> watched = watched_before(guest);
        RCHK_TRY_ASSIGN(answered, answer_xsavec(guest));
        if (answered) written = watched_change(guest, watched);
      }
    }
    if (written && probes_.policy == translate::HitPolicy::kRemember) {
      Position position = guest.position;
      position.instructions += stop->retired;
      position.rep_iterations = 0;
      last_hit_ = FoundHit{position, true, *written};
      written.reset();
    }
    if (answered) ++stop->retired;
    guest.position.instructions += stop->retired;
    if (stop->retired > 0) guest.position.rep_iterations = 0;
    instructions_ += stop->retired;
    retired += stop->retired;
    left -= stop->retired;
    if (written) {
      stop->reason = StopReason::kWatchpoint;
      stop->probe = *written;
      stop->retired = retired;
      return *stop;
    }
    if (answered && left > 0) {
      report_at_start = true;
      continue;
    }
    if (answered) stop->reason = StopReason::kInstructionLimit;
    stop->retired = retired;
    return *stop;
  }
}

std::optional<Outcome> Replayer::probe_outcome(const Guest&, const translate::Stop& stop) const {
  if (stop.reason == StopReason::kBreakpoint) {
    return Outcome{AdvanceStop::kBreakpoint, stop.probe, false, {}};
  }
  if (stop.reason == StopReason::kWatchpoint) {
    return Outcome{AdvanceStop::kWatchpoint, stop.probe, false, {}};
  }
  return std::nullopt;
}

// The guest stopped by itself, not at a limit.
Result<std::optional<Outcome>> Replayer::at_engine_stop(Guest& guest, const AdvanceRequest& request,
                                                        const Segment& segment,
                                                        const translate::Stop& stop) {
  if (const std::optional<Outcome> outcome = probe_outcome(guest, stop)) {
    return std::optional<Outcome>(outcome);
  }
  if (segment.end == Segment::End::kNothing) {
    return std::optional<Outcome>(Outcome{AdvanceStop::kEndOfLog});
  }
  // A limit inside of this segment that lies behind its end means its end.
  if (request.limit.event == guest.position.event &&
      request.limit.anchor == guest.position.anchor) {
    return std::optional<Outcome>(Outcome{AdvanceStop::kLimit});
  }
  const auto* last =
      segment.event != nullptr ? std::get_if<trace::ExitEvent>(&segment.event->body) : nullptr;
  // What the recorder stopped at may be unknown to the translator too (a 32-bit system call).
  const bool stopped_here = last != nullptr &&
                            last->reason == trace::ExitReason::kRecorderStopped &&
                            last->registers.pc() == guest.registers.pc();
  if (segment.event == nullptr || (stop.reason == StopReason::kUnsupported && !stopped_here)) {
    return divergence(guest, describe_stop(stop) + "\n");
  }
  const trace::EventBody& body = segment.event->body;
  bool fits = false;
  if (last != nullptr) {
    fits = stopped_here || last->reason != trace::ExitReason::kRecorderStopped;
  } else if (const auto* trap = std::get_if<trace::TrapEvent>(&body)) {
    if (stop.reason != StopReason::kTrapped) {
      return divergence(guest, fmt::format("{}, but {} was recorded\n", describe_stop(stop),
                                           trap_name(trap->instruction)));
    }
    fits = true;
  } else if (const auto* signal = std::get_if<trace::SignalEvent>(&body)) {
    fits = signal->place == trace::Place::kAtFault  ? stop.reason == StopReason::kFault
           : signal->place == trace::Place::kAtCall ? stop.reason == StopReason::kSyscall
                                                    : false;
  } else {
    fits = stop.reason == StopReason::kSyscall;
  }
  if (!fits) return divergence(guest, describe_stop(stop) + ", which was not recorded here\n");
  return take_event(guest, request, *segment.event);
}

// Applies the next event to a guest that stands where it happened.
Result<std::optional<Outcome>> Replayer::take_event(Guest& guest, const AdvanceRequest& request,
                                                    const trace::Event& event) {
  const EventNumber number = guest.position.event.next();
  if (const auto* exit = std::get_if<trace::ExitEvent>(&event.body)) {
    if (exit->place != trace::ExitPlace::kUnknown) {
      RCHK_TRY(check_registers(guest, exit->registers, true));
      // A guest that was gone at once left no memory to take checksums of.
      const bool check = !exit_memory_checked_ && !exit->memory.empty();
      if (check) RCHK_TRY(check_memory(guest, exit->memory));
    }
    exit_memory_checked_ = true;
    if (on_event_) RCHK_TRY(on_event_(number, event, guest));
    return std::optional<Outcome>(Outcome{AdvanceStop::kExit, 0, false, number});
  }

  const Position before = guest.position;
  const std::vector<WatchedBytes> watched = watched_before(guest);
  if (const auto* exec = std::get_if<trace::ExecEvent>(&event.body)) {
    RCHK_TRY(apply(guest, *exec));
  } else if (const auto* syscall = std::get_if<trace::SyscallEvent>(&event.body)) {
    RCHK_TRY(apply(guest, *syscall));
  } else if (const auto* trap = std::get_if<trace::TrapEvent>(&event.body)) {
    RCHK_TRY(check_registers(guest, trap->before, false));
    guest.registers = trap->after;
  } else if (const auto* signal = std::get_if<trace::SignalEvent>(&event.body)) {
    RCHK_TRY(check_registers(guest, signal->registers, false));
  } else if (const auto* checksums = std::get_if<trace::ChecksumEvent>(&event.body)) {
    RCHK_TRY(check_registers(guest, checksums->registers, true));
    RCHK_TRY(check_memory(guest, checksums->memory));
  }
  guest.position = {number, 0, 0, 0};
  if (on_event_) RCHK_TRY(on_event_(number, event, guest));
  if (const std::optional<uint32_t> probe = watched_change(guest, watched)) {
    if (probes_.policy == translate::HitPolicy::kStop) {
      return std::optional<Outcome>(Outcome{AdvanceStop::kWatchpoint, *probe, true, number});
    }
    last_hit_ = FoundHit{before, true, *probe};
  }
  if (std::holds_alternative<trace::SignalEvent>(event.body) && request.stop_at_signals) {
    return std::optional<Outcome>(Outcome{AdvanceStop::kSignal, 0, false, number});
  }
  return std::optional<Outcome>();
}

}  // namespace rchk::replay
