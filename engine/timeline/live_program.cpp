#include "engine/timeline/live_program.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "engine/timeline/paced_question.h"
#include "snapshot/memory_cost.h"

namespace rchk::timeline {

namespace {

using record::RecorderStop;
using record::StopCause;

constexpr std::chrono::milliseconds kShortestInterval{100};
// Snapshots may take one part in so many of the time.
constexpr int kOverheadDivisor = 20;
// A step back replays what came since the last snapshot: that must not take too long either.
// Where snapshots cost much they may take one part in so many of the time.
constexpr std::chrono::seconds kLongestInterval{2};
constexpr int kMostOverheadDivisor = 4;
// Copying a page that a snapshot shares, at the guest's first write to it (measured: 5 to 14 us).
constexpr std::chrono::microseconds kPageCopy{5};

// The end of a step; nothing where a range is stepped through that it has not left.
std::optional<TimelineStop> stepped(const RunCommand& command, const Registers& registers) {
  if (command.kind == RunKind::kRangeStep && command.range.contains(registers.pc())) {
    return std::nullopt;
  }
  return TimelineStop{};
}

std::optional<record::HardwareWatchpoint> hardware_form(const Watch& watch) {
  const uint64_t size = watch.range.size();
  const bool fits = (size == 1 || size == 2 || size == 4 || size == 8) &&
                    watch.range.begin.value % size == 0 &&
                    watch.kind != translate::WatchKind::kRead;
  if (!fits) return std::nullopt;
  record::HardwareWatchpoint form;
  form.address = watch.range.begin;
  form.size_bytes = static_cast<uint8_t>(size);
  form.access = watch.kind == translate::WatchKind::kWrite ? record::WatchAccess::kWrite
                                                           : record::WatchAccess::kReadWrite;
  return form;
}

void add_pages(AddressRange range, std::vector<GuestAddress>& pages) {
  for (GuestAddress page = range.begin; page < range.end; page = page + kPageSize) {
    pages.push_back(page);
  }
}

}  // namespace

LiveProgram::LiveProgram(record::Recorder& recorder, trace::EventSource& log)
    : recorder_(recorder), log_(log), first_pid_(recorder.pid()), interval_(kShortestInterval) {}

int64_t LiveProgram::age_ns() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - started_).count();
}

Result<void> LiveProgram::join(Timeline& timeline) {
  timeline_ = &timeline;
  Registers registers;
  ExtendedState state;
  RCHK_TRY_ASSIGN(replay::Guest guest, fork_guest({}, registers, state));
  timeline.add_live_snapshot(std::move(guest), 0, {});
  position_ = Position{};
  return {};
}

// Forks the program into a guest that replays can start from, and begins a new interval of the
// dirty tracker with it.
Result<replay::Guest> LiveProgram::fork_guest(const Position& position, Registers& registers,
                                              ExtendedState& state) {
  RCHK_TRY_ASSIGN(record::ForkSnapshot fork, recorder_.fork_snapshot());
  registers = fork.registers;
  state = fork.extended_state;
  const auto read_original = [this](GuestAddress address, std::span<uint8_t> bytes) {
    return recorder_.read_memory(address, bytes);
  };
  RCHK_TRY_ASSIGN(
      std::unique_ptr<replay::Puppet> puppet,
      replay::Puppet::adopt(
          {std::move(fork.process), fork.gadget, std::move(fork.space), read_original}, log_));
  tracker_ = snapshot::make_tracker(snapshot::TrackerKind::kExclusive, recorder_.pid());
  RCHK_TRY(tracker_->begin(puppet->pid()));
  replay::Guest guest{std::move(puppet), registers, position, fork.tid, recorder_.pid()};
  for (record::OtherTask& task : fork.others) {
    guest.others.emplace(task.tid,
                         replay::WaitingTask{task.registers, std::move(task.extended_state)});
  }
  return guest;
}

std::optional<Bytes> LiveProgram::signal_info() {
  const std::optional<siginfo_t> info = recorder_.signal_info();
  if (!info) return std::nullopt;
  Bytes bytes(sizeof(*info));
  std::memcpy(bytes.data(), &*info, sizeof(*info));
  return bytes;
}

std::optional<int> LiveProgram::signal_to_come() {
  const std::optional<siginfo_t> info = recorder_.signal_info();
  return info ? std::optional(info->si_signo) : std::nullopt;
}

Result<replay::Guest> LiveProgram::copy() {
  RCHK_TRY_ASSIGN(const Position here, position());
  RCHK_TRY(timeline_->seek(here));
  RCHK_TRY_ASSIGN(replay::Guest guest, timeline_->diversion());
  RCHK_TRY(timeline_->seek_to_end());
  return guest;
}

// Forks the program into an anchor behind the last event. A call of another thread may end
// meanwhile, and store; its event then has to come before the anchor.
Result<replay::Guest> LiveProgram::take_anchor(replay::Anchor& anchor, Position& position) {
  std::vector<GuestAddress>& pages = anchor.target.pages;
  for (;;) {
    for (bool again = true; again;) {
      RCHK_TRY_ASSIGN(again, recorder_.log_ended_calls());
    }
    const EventNumber event{log_.event_count() - 1};
    // A point right behind an event needs no state to be found again.
    anchor.number = recorder_.stands_at_event() ? 0 : timeline_->last_anchor(event) + 1;
    position = {event, anchor.number, 0, 0};
    RCHK_TRY_ASSIGN(const snapshot::DirtyPages dirty, tracker_->collect());
    for (const AddressRange& range : dirty.pages) add_pages(range, pages);
    RCHK_TRY_ASSIGN(replay::Guest guest,
                    fork_guest(position, anchor.target.registers, anchor.target.extended_state));
    RCHK_TRY_ASSIGN(const bool outdated, recorder_.log_ended_calls());
    if (outdated) {
      RCHK_TRY(add_written_behind(event, pages));
      continue;
    }
    // What the recorder has mapped for itself is no state of the guest's.
    const snapshot::AddressSpace& space = recorder_.address_space();
    std::erase_if(pages, [&space](GuestAddress page) { return space.find(page) == nullptr; });
    std::sort(pages.begin(), pages.end());
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
    return guest;
  }
}

// What the kernel stores between the tracker's answer and the fork, which it counts from, is in
// neither interval.
Result<void> LiveProgram::add_written_behind(EventNumber event, std::vector<GuestAddress>& pages) {
  for (uint64_t number = event.value + 1; number < log_.event_count(); ++number) {
    RCHK_TRY_ASSIGN(const auto logged, log_.event({number}));
    const std::vector<trace::MemoryWrite>* writes = nullptr;
    if (const auto* call = std::get_if<trace::SyscallEvent>(&logged->body)) writes = &call->writes;
    if (const auto* memory = std::get_if<trace::MemoryEvent>(&logged->body)) {
      writes = &memory->writes;
    }
    if (writes == nullptr) continue;
    for (const trace::MemoryWrite& write : *writes) {
      add_pages(range_of(write.address, write.bytes.size()).pages(), pages);
    }
  }
  return {};
}

Result<void> LiveProgram::snapshot() {
  const Clock::time_point before = Clock::now();
  if (recorder_.stands_at_event()) {
    for (bool again = true; again;) {
      RCHK_TRY_ASSIGN(again, recorder_.log_ended_calls());
    }
    const Position here{{log_.event_count() - 1}, 0, 0, 0};
    if (timeline_->has_checkpoint(here)) return note_snapshot(before, here, 0);
  }
  replay::Anchor anchor;
  Position position;
  RCHK_TRY_ASSIGN(replay::Guest guest, take_anchor(anchor, position));
  const uint64_t pages = anchor.target.pages.size();
  if (anchor.number == 0) {
    timeline_->add_live_snapshot(std::move(guest), age_ns(), anchor.target.pages);
    return note_snapshot(before, position, pages);
  }
  anchor.target.read = [puppet = guest.puppet.get()](GuestAddress address,
                                                     std::span<uint8_t> bytes) {
    return puppet->read_memory(address, bytes);
  };
  anchor.tid = guest.tid;
  timeline_->add_anchor(position.event, std::move(anchor), std::move(guest), age_ns());
  return note_snapshot(before, position, pages);
}

// Of the pages that are dirty now, as many will be copied at their next write as there were before:
// a program that fills new memory copies none.
Result<void> LiveProgram::note_snapshot(Clock::time_point before, const Position& position,
                                        uint64_t dirty_pages) {
  position_ = position;
  const uint64_t pages = snapshot::private_pages(first_pid_);
  const uint64_t grown = pages - std::min(pages, private_pages_);
  const uint64_t copied = dirty_pages - std::min(dirty_pages, grown);
  private_pages_ = pages;
  last_snapshot_ = Clock::now();
  const std::chrono::nanoseconds cost = (last_snapshot_ - before) + kPageCopy * copied;
  const auto longest =
      std::max<std::chrono::nanoseconds>(kLongestInterval, cost * kMostOverheadDivisor);
  interval_ =
      std::clamp<std::chrono::nanoseconds>(cost * kOverheadDivisor, kShortestInterval, longest);
  return {};
}

Result<Position> LiveProgram::position() {
  if (position_) return *position_;
  if (recorder_.waits()) {
    // All that the process did is behind events.
    for (bool again = true; again;) {
      RCHK_TRY_ASSIGN(again, recorder_.log_ended_calls());
    }
    position_ = Position{{log_.event_count() - 1}, 0, 0, 0};
    return *position_;
  }
  RCHK_TRY(snapshot());
  return *position_;
}

bool LiveProgram::can_stop_at(const StopPoints& points) {
  constexpr size_t kDebugRegisters = 4;
  if (points.watches.empty()) return true;
  return record::hardware_watchpoints_work() && points.watches.size() <= kDebugRegisters &&
         std::all_of(points.watches.begin(), points.watches.end(),
                     [](const Watch& watch) { return hardware_form(watch).has_value(); });
}

// Makes the recorder's breakpoints and watchpoints those of `points`.
Result<void> LiveProgram::place(const StopPoints& points) {
  std::vector<GuestAddress> wanted;
  for (const Breakpoint& point : points.breakpoints) wanted.push_back(point.address);
  for (const GuestAddress address : breakpoints_) {
    if (std::find(wanted.begin(), wanted.end(), address) == wanted.end()) {
      RCHK_TRY(recorder_.remove_breakpoint(address));
    }
  }
  for (const GuestAddress address : wanted) {
    if (std::find(breakpoints_.begin(), breakpoints_.end(), address) == breakpoints_.end()) {
      RCHK_TRY(recorder_.insert_breakpoint(address));
    }
  }
  breakpoints_ = std::move(wanted);
  for (const record::HardwareWatchpoint& old : watchpoints_) {
    RCHK_TRY(recorder_.remove_watchpoint(old));
  }
  watchpoints_.clear();
  for (const Watch& watch : points.watches) {
    const auto form = hardware_form(watch);
    if (!form) continue;
    RCHK_TRY(recorder_.insert_watchpoint(*form));
    watchpoints_.push_back(*form);
  }
  return {};
}

Result<TimelineStop> LiveProgram::run(const RunCommand& command, const StopPoints& points) {
  if (end_) return *end_;
  RCHK_TRY(place(points));
  PacedQuestion asked(command.interrupted);
  for (;;) {
    record::RunLimits limits;
    limits.single_step = command.kind != RunKind::kContinue;
    const bool chosen = command.alone || command.kind != RunKind::kContinue;
    limits.task = chosen ? command.task.value : 0;
    limits.alone = command.alone;
    limits.stop_at_signals = true;
    limits.quiet_signals = points.quiet_signals;
    limits.stop_at_exec = true;
    limits.stop_at_forks = points.forks || points.vforks_done;
    if (points.syscalls) {
      limits.catches_syscall = [&points](int number) { return points.catches(number); };
    }
    limits.stop_before_exit = true;
    limits.interrupt_requested = command.interrupted;
    limits.deadline = last_snapshot_ + interval_;
    Result<void> fork_noted;
    limits.before_fork = [&] {
      if (tracker_ && fork_noted) fork_noted = tracker_->about_to_fork();
    };
    RCHK_TRY_ASSIGN(const RecorderStop stop, recorder_.run(limits));
    RCHK_TRY(fork_noted);
    position_.reset();
    RCHK_TRY_ASSIGN(const auto found, meaning_of(stop, command, points));
    if (found) return *found;
    if (asked.now()) {
      TimelineStop result;
      result.kind = StopKind::kInterrupted;
      return result;
    }
    const bool due = Clock::now() >= last_snapshot_ + interval_;
    if (due && !recorder_.waits() && recorder_.pid() == first_pid_) RCHK_TRY(snapshot());
  }
}

Result<bool> LiveProgram::run_beyond(const std::function<bool()>& interrupted) {
  RCHK_TRY(place({}));
  record::RunLimits limits;
  limits.stop_at_breakpoints = false;
  limits.interrupt_requested = interrupted;
  RCHK_TRY_ASSIGN(const RecorderStop stop, recorder_.run(limits));
  running_ = stop.cause != StopCause::kExited && stop.cause != StopCause::kRecordingStopped;
  return running_;
}

// What the recorder's stop is to the user; nothing when the program is to run on.
Result<std::optional<TimelineStop>> LiveProgram::meaning_of(const RecorderStop& stop,
                                                            const RunCommand& command,
                                                            const StopPoints& points) {
  using Answer = std::optional<TimelineStop>;
  TimelineStop result;
  RCHK_TRY_ASSIGN(const Registers registers,
                  stop.cause == StopCause::kExited || stop.cause == StopCause::kRecordingStopped
                      ? Result<Registers>(Registers{})
                      : recorder_.registers());
  const ReadMemory read = [this](GuestAddress address, std::span<uint8_t> bytes) {
    return recorder_.read_memory(address, bytes);
  };
  switch (stop.cause) {
    case StopCause::kBreakpoint:
      result.kind = StopKind::kBreakpoint;
      for (uint32_t i = 0; i < points.breakpoints.size(); ++i) {
        if (points.breakpoints[i].address != stop.address) continue;
        const Condition& condition = points.breakpoints[i].condition;
        if (condition && !condition(registers, read)) return Answer();
        result.index = i;
        return Answer(result);
      }
      return Answer();
    case StopCause::kWatchpoint:
      result.kind = StopKind::kWatchpoint;
      for (uint32_t i = 0; i < points.watches.size(); ++i) {
        if (!points.watches[i].range.contains(stop.address)) continue;
        const Condition& condition = points.watches[i].condition;
        if (condition && !condition(registers, read)) return Answer();
        result.index = i;
        return Answer(result);
      }
      return Answer();
    case StopCause::kForked: {
      const Fork fork{stop.child, stop.vfork, recorder_.tid()};
      result.kind = stop.vfork ? StopKind::kVfork : StopKind::kFork;
      result.number = fork.pid;
      if (points.forks && points.forks(fork)) return Answer(result);
      if (stop.vfork || command.kind == RunKind::kContinue) return Answer();
      return stepped(command, registers);
    }
    case StopCause::kVforkDone: {
      const Fork fork{stop.child, true, recorder_.tid()};
      result.kind = StopKind::kVforkDone;
      result.number = fork.pid;
      if (points.vforks_done && points.vforks_done(fork)) return Answer(result);
      if (command.kind == RunKind::kContinue) return Answer();
      return stepped(command, registers);
    }
    case StopCause::kStepped:
      return stepped(command, registers);
    case StopCause::kInterrupted:
      if (!command.interrupted || !command.interrupted()) return Answer();
      result.kind = StopKind::kInterrupted;
      return Answer(result);
    case StopCause::kSignal:
      result.kind = StopKind::kSignal;
      result.number = stop.signal;
      return Answer(result);
    case StopCause::kSyscallEntry:
      result.kind = StopKind::kSyscallEntry;
      result.number = stop.number;
      return Answer(result);
    case StopCause::kSyscallReturn:
      result.kind = StopKind::kSyscallReturn;
      result.number = stop.number;
      return Answer(result);
    case StopCause::kExec: {
      result.kind = StopKind::kExec;
      RCHK_TRY_ASSIGN(const auto program, timeline_->program());
      result.text = std::get<trace::ExecEvent>(program->body).executable;
      return Answer(result);
    }
    case StopCause::kAboutToExit:
      result.kind = StopKind::kExiting;
      result.text =
          stop.signal != 0
              ? fmt::format("the program is about to be killed by signal {} ({})", stop.signal,
                            sigabbrev_np(stop.signal) ? sigabbrev_np(stop.signal) : "?")
              : fmt::format("the program is about to exit with status {}", stop.status);
      end_ = result;
      return Answer(result);
    case StopCause::kExited:
      result.kind = StopKind::kExiting;
      result.text = stop.signal != 0
                        ? fmt::format("the program was killed by signal {}", stop.signal)
                        : fmt::format("the program exited with status {}", stop.status);
      end_ = result;
      running_ = false;
      return Answer(result);
    case StopCause::kRecordingStopped:
      result.kind = StopKind::kUnsupported;
      result.text = stop.message;
      running_ = false;
      return Answer(result);
  }
  return Answer();
}

}  // namespace rchk::timeline
