#include "engine/replay/replayer.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "engine/replay/segment.h"
#include "engine/translate/access.h"
#include "engine/translate/decode.h"

namespace rchk::replay {

using translate::StopReason;

namespace {

// The state in which something happened at a place that only its state names. It refers to `event`.
template <typename StateEvent>
StateTarget target_in(const StateEvent& event) {
  StateTarget target;
  target.registers = event.registers;
  target.extended_state = event.extended_state;
  target.checksums = event.checksums;
  for (const trace::PageContents& contents : event.dirty) {
    for (uint64_t at = 0; at < contents.bytes.size(); at += kPageSize) {
      target.pages.push_back(contents.address + at);
    }
  }
  target.read = [&event](GuestAddress address, std::span<uint8_t> bytes) -> size_t {
    for (const trace::PageContents& contents : event.dirty) {
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

siginfo_t info_of(const trace::SignalEvent& event) {
  siginfo_t info{};
  std::memcpy(&info, event.siginfo.data(), std::min(event.siginfo.size(), sizeof(info)));
  return info;
}

// Whether it faults itself, where it would learn where to branch to.
bool reads_from_nowhere(const translate::TraceStep& branch, const Registers& registers) {
  const auto accesses = translate::memory_accesses(branch, registers);
  return accesses && std::any_of(accesses->begin(), accesses->end(), [](const auto& access) {
           return access.reads && !translate::is_canonical(access.range.begin.value);
         });
}

// Whether the program can store to its code at `pc`, or has it elsewhere too, where it can.
bool may_be_stored_to(GuestAddress pc, const Guest& guest) {
  const snapshot::Mapping* const mapping = guest.puppet->space().find(pc);
  return mapping != nullptr && (mapping->shared || mapping->writable());
}

// The state of a branch to an address that is not canonical. The processor faults at the branch, a
// translation only where that leads to, when the call has stored its return address. Of code that
// the program may yet store to it shows only there whether it is one.
std::shared_ptr<const StateTarget> wild_branch_of(const trace::Event& event, const Guest& guest) {
  const auto* signal = std::get_if<trace::SignalEvent>(&event.body);
  if (signal == nullptr || signal->place != trace::Place::kAtFault) return nullptr;
  const siginfo_t info = info_of(*signal);
  if (info.si_signo != SIGSEGV || info.si_code != SI_KERNEL) return nullptr;
  translate::TraceStep branch;
  branch.pc = signal->registers.rip;
  const size_t got = guest.puppet->read_memory(signal->registers.pc(), branch.bytes);
  const bool decoded = translate::decode(branch.bytes.data(), got, branch.instruction) ==
                       translate::DecodeStatus::kOk;
  const bool is_branch = decoded && is_indirect_branch(branch.instruction) &&
                         !reads_from_nowhere(branch, signal->registers);
  if (!is_branch && !may_be_stored_to(signal->registers.pc(), guest)) return nullptr;
  StateTarget target;
  target.registers = signal->registers;
  target.at_wild_branch = true;
  return std::make_shared<const StateTarget>(std::move(target));
}

// Around what is not mapped where an instruction has wanted it. Nothing if that is no fault of a
// program's address.
std::optional<AddressRange> unmapped_at(const trace::Event& event) {
  constexpr uint64_t kAround = 1 << 20, kUserEnd = 1ull << 47;
  const auto* signal = std::get_if<trace::SignalEvent>(&event.body);
  if (signal == nullptr || signal->place != trace::Place::kAtFault) return std::nullopt;
  const siginfo_t info = info_of(*signal);
  if (info.si_signo != SIGSEGV || info.si_code != SEGV_MAPERR) return std::nullopt;
  const auto address = reinterpret_cast<uint64_t>(info.si_addr);
  if (address >= kUserEnd) return std::nullopt;
  const uint64_t first = address - std::min(address, kAround);
  return AddressRange{GuestAddress{first}.page_floor(),
                      GuestAddress{address + kAround}.page_floor()};
}

std::optional<trace::Place> place_of(const trace::EventBody& body) {
  if (const auto* signal = std::get_if<trace::SignalEvent>(&body)) return signal->place;
  if (const auto* change = std::get_if<trace::SwitchEvent>(&body)) return change->place;
  if (const auto* end = std::get_if<trace::TaskEndEvent>(&body)) return end->place;
  return std::nullopt;
}

// Of an event by a state.
GuestAddress pc_of_state(const trace::EventBody& body) {
  if (const auto* signal = std::get_if<trace::SignalEvent>(&body)) return signal->registers.pc();
  return std::get<trace::SwitchEvent>(body).registers.pc();
}

// Whether an event happens where the one before it left the guest, so that it needs no run.
bool is_in_place(const trace::Event& event, const Guest& guest) {
  if (const auto* exit = std::get_if<trace::ExitEvent>(&event.body)) {
    return exit->place != trace::ExitPlace::kAtCall ||
           same_guest_state(exit->registers, guest.registers);
  }
  if (const auto* exec = std::get_if<trace::ExecEvent>(&event.body)) {
    // Where other tasks are left behind, or one leaves, it has stopped at the call before.
    return exec->pid != guest.pid || event.tid != guest.tid || !guest.others.empty();
  }
  return std::holds_alternative<trace::ChecksumEvent>(event.body) ||
         std::holds_alternative<trace::MemoryEvent>(event.body) ||
         std::holds_alternative<trace::SpawnEvent>(event.body) ||
         place_of(event.body) == trace::Place::kAtEvent;
}

}  // namespace

Result<std::unique_ptr<Replayer>> Replayer::create(trace::EventSource& source,
                                                   std::optional<int> cpu) {
  std::unique_ptr<Replayer> replayer(new Replayer(source, cpu));
  RCHK_TRY_ASSIGN(replayer->engine_, translate::Engine::create());
  RCHK_TRY_ASSIGN(replayer->contents_, ContentStore::create(source));
  return replayer;
}

Result<std::unique_ptr<Replayer>> Replayer::create_beside(const Replayer& other,
                                                          trace::EventSource& source, bool forked) {
  std::unique_ptr<Replayer> replayer(new Replayer(source, other.cpu_));
  replayer->contents_ = other.contents_;
  replayer->shared_ = other.shared_;
  replayer->namer_ = other.namer_;
  if (forked) {
    replayer->engine_ = other.engine_;
  } else {
    RCHK_TRY_ASSIGN(replayer->engine_, translate::Engine::create());
  }
  return replayer;
}

Result<Guest> Replayer::start() {
  RCHK_TRY_ASSIGN(const std::shared_ptr<const trace::Event> event, source_.event({0}));
  if (!std::holds_alternative<trace::ExecEvent>(event->body)) {
    return fail(ErrorKind::kBadTrace, "the recording does not begin with the start of a program");
  }
  RCHK_TRY_ASSIGN(Guest guest, begun_by(*event));
  if (on_event_) RCHK_TRY(on_event_({0}, *event, guest));
  return guest;
}

Result<Guest> Replayer::start_behind(EventNumber number, const trace::Event& process) {
  RCHK_TRY_ASSIGN(Guest guest, begun_by(process));
  guest.position.event = number;
  return guest;
}

Result<Guest> Replayer::begun_by(const trace::Event& event) {
  const auto& exec = std::get<trace::ExecEvent>(event.body);
  Guest guest;
  guest.tid = event.tid;
  guest.pid = exec.pid;
  guest.space = event.space;
  const bool resumes = exec.resumed != nullptr;
  RCHK_TRY(apply(guest, exec, resumes ? Origin::kSnapshot : Origin::kProgram));
  if (resumes) RCHK_TRY(resume(guest, *exec.resumed));
  return guest;
}

Result<Guest> Replayer::start_as_child(const Guest& parent) {
  RCHK_TRY_ASSIGN(const std::shared_ptr<const trace::Event> event, source_.event({0}));
  const auto* spawn = std::get_if<trace::SpawnEvent>(&event->body);
  if (spawn == nullptr || spawn->kind != trace::SpawnKind::kFork) {
    return fail(ErrorKind::kBadTrace, "a process does not begin with a fork");
  }
  RCHK_TRY_ASSIGN(Guest guest, parent.fork(Sharing::kShare));
  RCHK_TRY(engine_->attach(*guest.puppet));
  RCHK_TRY(perform(guest, *event));
  guest.position = {};
  guest.space = event->space;
  if (on_event_) RCHK_TRY(on_event_({0}, *event, guest));
  return guest;
}

Result<void> Replayer::set_probes(translate::Probes probes) {
  probes_ = probes;
  return engine_->set_probes(std::move(probes));
}

Result<Outcome> Replayer::advance(Guest& guest, const AdvanceRequest& request) {
  RCHK_TRY(engine_->attach(*guest.puppet));
  // A copy of the live program may have been made before others went on.
  const bool behind_event = guest.position == Position{guest.position.event, 0, 0, 0};
  if (behind_event && !guest.has_stores_of_others) RCHK_TRY(apply_stores_of_others(guest));
  bool report_at_start = request.report_at_start;
  uint64_t budget = request.slice_instructions;
  for (;;) {
    RCHK_TRY(settle(guest));
    if (guest.position >= request.limit) return Outcome{AdvanceStop::kLimit};
    RCHK_TRY_ASSIGN(const Segment segment, enter_segment(guest));
    RCHK_TRY_ASSIGN(const std::optional<Outcome> outcome,
                    run_segment(guest, request, segment, report_at_start, budget));
    if (outcome) return *outcome;
    if (budget == 0) return Outcome{AdvanceStop::kSlice};
  }
}

Result<Replayer::Segment> Replayer::enter_segment(Guest& guest) {
  RCHK_TRY_ASSIGN(Segment segment, segment_behind(guest));
  const auto unmapped = segment.event ? unmapped_at(*segment.event) : std::nullopt;
  if (unmapped) {
    // What is rchk's own would not fault.
    RCHK_TRY(guest.puppet->keep_clear(*unmapped));
    RCHK_TRY(engine_->make_room(*unmapped));
  }
  return segment;
}

Result<void> Replayer::run_logged(Guest& guest, uint64_t limit,
                                  std::vector<translate::LoggedInstruction>& passed) {
  Position& at = guest.position;
  if (at.rep_iterations != 0) return {};
  const bool behind_event = at == Position{at.event, 0, 0, 0};
  if (behind_event && !guest.has_stores_of_others) return {};
  RCHK_TRY(engine_->attach(*guest.puppet));
  const Tid task = guest.tid;
  RCHK_TRY(settle(guest));
  if (guest.tid != task) return {};  // the caller has the state of the one that ran before
  RCHK_TRY_ASSIGN(const Segment segment, enter_segment(guest));
  // Its end has to be searched for, or the log does not say how the guest went on.
  const bool is_open = segment.end == Segment::End::kState && !segment.distance;
  if (is_open || segment.end == Segment::End::kNothing) return {};
  const bool in_place =
      segment.event != nullptr && (segment.is_empty || is_in_place(*segment.event, guest));
  if (in_place && at.instructions == 0) return {};
  if (segment.distance) limit = std::min(limit, segment.distance->instructions - at.instructions);
  if (limit == 0) return {};
  auto stop = engine_->run_logged(guest.registers, limit, passed);
  if (!stop) {
    return fail_with(stop.error(), fmt::format("replay at position {}", guest.position));
  }
  at.instructions += stop->retired;
  instructions_ += stop->retired;
  return {};
}

Result<Replayer::Segment> Replayer::segment_behind(const Guest& guest) {
  Segment segment;
  if (anchors_ != nullptr) {
    segment.anchor = anchors_->next_anchor(guest.position.event, guest.position.anchor);
    if (segment.anchor != nullptr) {
      segment.end = Segment::End::kState;
      if (segment.anchor->segment_instructions) {
        segment.distance = StateDistance{*segment.anchor->segment_instructions,
                                         segment.anchor->segment_rep_iterations};
      }
      return segment;
    }
  }
  const EventNumber next = guest.position.event.next();
  if (next.value >= source_.event_count()) return segment;
  RCHK_TRY_ASSIGN(segment.event, source_.event(next));
  segment.end = Segment::End::kTrap;
  const std::optional<trace::Place> place = place_of(segment.event->body);
  if (auto target = wild_branch_of(*segment.event, guest)) {
    segment.end = Segment::End::kState;
    segment.event_target = std::move(target);
    return segment;
  }
  if (place != trace::Place::kByState && place != trace::Place::kBySnapshot) return segment;
  segment.is_empty = is_without_snapshot(*segment.event, next);
  if (segment.is_empty) return segment;
  if (std::holds_alternative<trace::TaskEndEvent>(segment.event->body)) {
    return fail(ErrorKind::kBadTrace, fmt::format("event {} ends a task at a state", next));
  }
  segment.end = Segment::End::kState;
  bool is_needed = true;
  if (const auto known = distances_.find(next.value); known != distances_.end()) {
    segment.distance = known->second;
    // In the midst of a string instruction memory has to become as the target's.
    is_needed = engine_->is_rep_string(pc_of_state(segment.event->body));
  }
  if (!is_needed) return segment;
  RCHK_TRY_ASSIGN(segment.event_target, target_at(*segment.event, next));
  return segment;
}

// REQUIRES: the event is by a state.
Result<std::shared_ptr<const StateTarget>> Replayer::target_at(const trace::Event& event,
                                                               EventNumber number) {
  if (const auto* signal = std::get_if<trace::SignalEvent>(&event.body)) {
    return std::make_shared<const StateTarget>(target_in(*signal));
  }
  const auto& change = std::get<trace::SwitchEvent>(event.body);
  if (change.place == trace::Place::kBySnapshot) {
    return target_of(change, *snapshot_behind(number, event.space));
  }
  return std::make_shared<const StateTarget>(target_in(change));
}

Result<void> Replayer::settle(Guest& guest) {
  if (guest.position.instructions != 0 || guest.position.rep_iterations != 0) return {};
  if (anchors_ != nullptr) {
    const Anchor* anchor = anchors_->next_anchor(guest.position.event, guest.position.anchor);
    if (anchor != nullptr) {
      return guest.others.contains(anchor->tid) ? guest.switch_to(anchor->tid) : Result<void>();
    }
  }
  const EventNumber next = guest.position.event.next();
  if (next.value >= source_.event_count()) return {};
  RCHK_TRY_ASSIGN(const std::shared_ptr<const trace::Event> event, source_.event(next));
  if (guest.has_task(event->tid)) {
    // A task that leaves, and one that begins, runs no instructions before that.
    const auto* exec = std::get_if<trace::ExecEvent>(&event->body);
    return exec != nullptr && exec->pid != guest.pid ? Result<void>() : guest.switch_to(event->tid);
  }
  const auto* exit = std::get_if<trace::ExitEvent>(&event->body);
  const bool needs_none = std::holds_alternative<trace::SpawnEvent>(event->body) ||
                          std::holds_alternative<trace::ExecEvent>(event->body) ||
                          (exit != nullptr && exit->place != trace::ExitPlace::kAtCall);
  if (needs_none) return {};
  return fail(ErrorKind::kBadTrace, fmt::format("event {} is of task {}, which does not exist then",
                                                source_.global_number(next), event->tid.value));
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
  const bool moved = at.instructions != 0 || at.rep_iterations != 0;
  const bool in_place =
      segment.event != nullptr && (segment.is_empty || is_in_place(*segment.event, guest));
  if (in_place && !moved) {
    // A limit inside of this segment that lies behind its end means its end.
    if (limit_is_here) return std::optional<Outcome>(Outcome{AdvanceStop::kLimit});
    return take_event(guest, *segment.event);
  }
  if (segment.end == Segment::End::kState && !segment.distance) {
    const uint64_t retired = instructions_;
    auto outcome = search_state(guest, request, segment, report_at_start, budget);
    if (instructions_ != retired) report_at_start = true;
    return outcome;
  }

  uint64_t stretch = budget;
  bool reaches_state = false;
  const bool report_here = report_at_start && (moved || !guest.is_amid);
  if (limit_is_here) stretch = std::min(stretch, request.limit.instructions - at.instructions);
  if (segment.distance && segment.distance->instructions - at.instructions <= stretch) {
    stretch = segment.distance->instructions - at.instructions;
    reaches_state = true;
  }
  if (stretch > 0) {
    // Where a task stopped in an instruction, a breakpoint at that has been seen.
    RCHK_TRY_ASSIGN(const translate::Stop stop, run_engine(guest, stretch, report_here));
    report_at_start = true;
    budget -= std::min(budget, stop.retired);
    if (stop.reason != StopReason::kInstructionLimit) {
      return at_engine_stop(guest, request, segment, stop);
    }
  }
  // Otherwise the limit or the end of the budget; the caller sees which.
  if (!reaches_state) return std::optional<Outcome>();
  if (begins_instruction(guest, *segment.distance) && (stretch > 0 || report_here)) {
    const auto hit = breakpoint_at(probes_, guest.registers.pc());
    if (hit && probes_.policy == translate::HitPolicy::kStop) {
      report_at_start = false;
      return std::optional<Outcome>(Outcome{AdvanceStop::kBreakpoint, *hit, false, {}});
    }
    if (hit) last_hit_ = FoundHit{at, false, *hit};
  }
  return at_state(guest, request, segment, *segment.distance);
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
      answered = answer_cpuid(guest) || answer_core(guest);
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

}  // namespace rchk::replay
