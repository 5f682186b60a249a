// What happens in a guest, and applying it.

#include <utility>

#include "engine/replay/segment.h"
#include "engine/trace/vsyscall.h"
#include "engine/translate/decode.h"

namespace rchk::replay {

using translate::StopReason;

namespace {

const char* trap_name(trace::TrappedInstruction instruction) {
  switch (instruction) {
    case trace::TrappedInstruction::kCpuid:
      return "cpuid";
    case trace::TrappedInstruction::kRdtsc:
      return "rdtsc";
    case trace::TrappedInstruction::kRdtscp:
      return "rdtscp";
    case trace::TrappedInstruction::kRdrand:
      return "rdrand";
    case trace::TrappedInstruction::kRdseed:
      return "rdseed";
  }
  return "?";
}

// How a guest stops by itself where an event happened.
std::optional<StopReason> stop_at(const trace::EventBody& body) {
  const auto at_place = [](trace::Place place) -> std::optional<StopReason> {
    if (place == trace::Place::kAtFault) return StopReason::kFault;
    if (place == trace::Place::kAtCall) return StopReason::kSyscall;
    return std::nullopt;
  };
  if (const auto* signal = std::get_if<trace::SignalEvent>(&body)) return at_place(signal->place);
  if (const auto* change = std::get_if<trace::SwitchEvent>(&body)) return at_place(change->place);
  if (const auto* end = std::get_if<trace::TaskEndEvent>(&body)) return at_place(end->place);
  if (std::holds_alternative<trace::TrapEvent>(body)) return StopReason::kTrapped;
  const bool is_call = std::holds_alternative<trace::SyscallEvent>(body) ||
                       std::holds_alternative<trace::ExecEvent>(body);
  return is_call ? std::optional(StopReason::kSyscall) : std::nullopt;
}

// True for a call of the vsyscall page, where there is no code to replay.
bool is_vsyscall(const trace::Event* event, GuestAddress pc) {
  const auto* call = event != nullptr ? std::get_if<trace::SyscallEvent>(&event->body) : nullptr;
  return call != nullptr && trace::kVsyscallPage.contains(pc) && call->before.pc() == pc;
}

// How the replay stopped, if `event` is what was recorded there: a privileged instruction that
// looks like a patch of the recorder's, and was the program's own, was recorded as a fault.
StopReason reason_at(const translate::Stop& stop, const trace::EventBody& event) {
  return stop.reason == StopReason::kTrapped && stop_at(event) == StopReason::kFault
             ? StopReason::kFault
             : stop.reason;
}

// True for an instruction that the translator does not know, and this processor did not either.
bool faults_at(const trace::Event* event, GuestAddress pc) {
  const auto* signal = event != nullptr ? std::get_if<trace::SignalEvent>(&event->body) : nullptr;
  return signal != nullptr && signal->place == trace::Place::kAtFault &&
         signal->registers.pc() == pc;
}

}  // namespace

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
    case StopReason::kUnlogged:
      break;
  }
  return "the replay stops";
}

// What the user may want to know of an instruction that nobody recorded.
std::string Replayer::unrecorded_hint(const Guest& guest) const {
  if (trace::kVsyscallPage.contains(guest.registers.pc())) {
    return ": a call of the vsyscall page, by an address that no file of the program holds";
  }
  uint8_t code[translate::kMaxInstructionBytes] = {};
  const size_t got = guest.puppet->read_memory(guest.registers.pc(), code);
  translate::Instruction instruction;
  if (translate::decode(code, got, instruction) != translate::DecodeStatus::kOk ||
      !translate::patched_byte(instruction)) {
    return {};
  }
  return fmt::format(
      ": an {} that the recorder did not know of (in code that the program made, or that no unwind "
      "information names)",
      translate::is_random(instruction)  ? "RDRAND or RDSEED"
      : translate::is_cpuid(instruction) ? "CPUID"
                                         : "RDTSC or RDTSCP");
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
  const bool unsupported = stop.reason == StopReason::kUnsupported;
  const bool faulted_here = unsupported && faults_at(segment.event.get(), guest.registers.pc());
  if (segment.event == nullptr || (unsupported && !stopped_here && !faulted_here)) {
    return divergence(guest, describe_stop(stop) + "\n");
  }
  const trace::EventBody& body = segment.event->body;
  const auto* trap = std::get_if<trace::TrapEvent>(&body);
  if (trap != nullptr && stop.reason != StopReason::kTrapped) {
    return divergence(guest, fmt::format("{}, but {} was recorded\n", describe_stop(stop),
                                         trap_name(trap->instruction)));
  }
  if (is_vsyscall(segment.event.get(), guest.registers.pc())) {
    guest.registers.rax = std::get<trace::SyscallEvent>(body).before.rax;
    return take_event(guest, *segment.event);
  }
  const bool fits = last != nullptr
                        ? stopped_here || last->reason != trace::ExitReason::kRecorderStopped
                        : faulted_here || stop_at(body) == reason_at(stop, body);
  if (!fits) {
    return divergence(guest, fmt::format("{}, which was not recorded here{}\n", describe_stop(stop),
                                         unrecorded_hint(guest)));
  }
  return take_event(guest, *segment.event);
}

Result<std::optional<Outcome>> Replayer::take_exit(Guest& guest, const trace::Event& event) {
  const auto& exit = std::get<trace::ExitEvent>(event.body);
  const EventNumber number = guest.position.event.next();
  if (exit.place != trace::ExitPlace::kUnknown) {
    RCHK_TRY(check_registers(guest, exit.registers, true));
    // A guest that was gone at once left no memory to take checksums of.
    const bool check = !exit_memory_checked_ && !exit.memory.empty();
    if (check) RCHK_TRY(check_memory(guest, exit.memory));
  }
  exit_memory_checked_ = true;
  if (on_event_) RCHK_TRY(on_event_(number, event, guest));
  return std::optional<Outcome>(Outcome{AdvanceStop::kExit, 0, false, number});
}

// Whether a child of vfork takes leave of its parent's memory by `event`; it may be the one that is
// followed, which does not.
bool Replayer::is_leave(const Guest& guest, const trace::Event& event) const {
  const auto* exec = std::get_if<trace::ExecEvent>(&event.body);
  return exec != nullptr && exec->pid != guest.pid &&
         source_.departure() != guest.position.event.next();
}

// Applies the next event to a guest that stands where it happened.
Result<std::optional<Outcome>> Replayer::take_event(Guest& guest, const trace::Event& event) {
  if (std::holds_alternative<trace::ExitEvent>(event.body)) return take_exit(guest, event);
  if (is_leave(guest, event) && guest.tid == event.tid && guest.others.empty()) {
    // The process itself has ended before: with its child this memory comes to its end.
    const EventNumber last = guest.position.event.next();
    if (on_event_) RCHK_TRY(on_event_(last, event, guest));
    return std::optional<Outcome>(Outcome{AdvanceStop::kExit, 0, false, last});
  }
  const Position before = guest.position;
  const EventNumber number = before.event.next();
  const std::vector<WatchedBytes> watched = watched_before(guest);
  if (before_event_) RCHK_TRY(before_event_(event, guest));
  const bool is_own = !is_leave(guest, event);
  RCHK_TRY(perform(guest, event));
  guest.puppet->lose_x87_pointers();
  guest.position = {number, 0, 0, 0};
  if (is_own) guest.space = event.space;
  if (on_event_) RCHK_TRY(on_event_(number, event, guest));
  if (const auto taken = snapshot_behind(number, guest.space)) {
    RCHK_TRY(check_snapshot(guest, *taken));
  }
  RCHK_TRY(apply_stores_of_others(guest));
  RCHK_TRY(settle(guest));
  if (const std::optional<uint32_t> probe = watched_change(guest, watched)) {
    if (probes_.policy == translate::HitPolicy::kStop) {
      return std::optional<Outcome>(Outcome{AdvanceStop::kWatchpoint, *probe, true, number});
    }
    last_hit_ = FoundHit{before, true, *probe};
  }
  return std::optional<Outcome>();
}

Result<void> Replayer::perform(Guest& guest, const trace::Event& event) {
  if (const auto* memory = std::get_if<trace::MemoryEvent>(&event.body)) {
    for (const trace::AddressSpaceChange& change : memory->changes) RCHK_TRY(apply(guest, change));
    for (const trace::MemoryWrite& item : memory->writes) RCHK_TRY(write(guest, item));
    return {};
  }
  if (event.tid == guest.tid) guest.is_amid = false;
  if (const auto* exec = std::get_if<trace::ExecEvent>(&event.body)) {
    if (is_leave(guest, event)) return remove_task(guest, event.tid);
    RCHK_TRY(apply(guest, *exec));
    guest.others.clear();
    guest.tid = event.tid;
    guest.pid = exec->pid;
  } else if (const auto* syscall = std::get_if<trace::SyscallEvent>(&event.body)) {
    RCHK_TRY(apply(guest, *syscall));
  } else if (const auto* trap = std::get_if<trace::TrapEvent>(&event.body)) {
    RCHK_TRY(check_registers(guest, trap->before, false));
    guest.registers = trap->after;
  } else if (const auto* signal = std::get_if<trace::SignalEvent>(&event.body)) {
    RCHK_TRY(apply(guest, *signal));
  } else if (const auto* checksums = std::get_if<trace::ChecksumEvent>(&event.body)) {
    RCHK_TRY(check_registers(guest, checksums->registers, true));
    RCHK_TRY(check_memory(guest, checksums->memory));
  } else if (const auto* change = std::get_if<trace::SwitchEvent>(&event.body)) {
    if (!is_without_snapshot(event, guest.position.event.next())) {
      RCHK_TRY(check_stand(guest, change->registers));
    }
    const auto distance = distance_to(guest.position.event.next());
    guest.is_amid =
        change->place == trace::Place::kAtCall || (distance && distance->rep_iterations > 0);
  } else if (const auto* spawn = std::get_if<trace::SpawnEvent>(&event.body)) {
    RCHK_TRY(begin_task(guest, *spawn, event.tid));
  } else if (const auto* end = std::get_if<trace::TaskEndEvent>(&event.body)) {
    RCHK_TRY(check_stand(guest, end->registers));
    for (const trace::MemoryWrite& item : end->writes) RCHK_TRY(write(guest, item));
    RCHK_TRY(remove_task(guest, event.tid));
  }
  return {};
}

Result<void> Replayer::begin_task(Guest& guest, const trace::SpawnEvent& event, Tid tid) {
  if (guest.has_task(tid) || !guest.has_task(event.parent)) {
    return fail(ErrorKind::kBadTrace, fmt::format("task {} is made by task {}: not possible then",
                                                  tid.value, event.parent.value));
  }
  WaitingTask task{event.registers, {}};
  if (event.parent == guest.tid) {
    RCHK_TRY_ASSIGN(task.extended_state, guest.puppet->extended_state());
  } else {
    task.extended_state = guest.others.at(event.parent).extended_state;
  }
  guest.others.insert_or_assign(tid, std::move(task));
  if (event.kind == trace::SpawnKind::kFork) {
    // From here on the guest is the child.
    RCHK_TRY(take_back_stores_of_others(guest));
    RCHK_TRY(guest.switch_to(tid));
    guest.others.clear();
    guest.pid = event.pid;
  }
  for (const trace::MemoryWrite& item : event.writes) RCHK_TRY(write(guest, item));
  return {};
}

Result<void> Replayer::remove_task(Guest& guest, Tid tid) {
  if (guest.has_task(tid) && !guest.others.empty()) return guest.remove_task(tid);
  return fail(
      ErrorKind::kBadTrace,
      fmt::format("task {} leaves memory that no other task uses, without ending it", tid.value));
}

}  // namespace rchk::replay
