// Page snapshots: when they are taken, and of what memory that is in order
// (docs/notes/page-snapshots.md). What of it is copied: snapshot_pages.cpp.

#include <algorithm>
#include <ctime>

#include "engine/record/process.h"
#include "engine/record/recorder_impl.h"
#include "snapshot/memory_cost.h"

namespace rchk::record {

namespace {

using snapshot::RangeSet;

// What each page that a tracker looks at costs the guest at its next write to it: a fault, or a
// copy where a fork holds on to it (docs/notes/dirty-trackers.md).
constexpr uint64_t kFaultNs = 1'000, kCopyNs = 5'000;
// What the writer takes for a page of a first one, as measured of programs that are nothing
// special (docs/notes/page-snapshots.md).
constexpr uint64_t kWriteNs = 12'000, kWrittenBytes = 500;
// What reading a page takes that others may have stored to.
constexpr uint64_t kReadNs = 4'000;
// So many are read at most, for that gives memory to those that nobody has used: 1 GiB.
constexpr uint64_t kMostStoredTo = (1 << 30) / kPageSize;
// How far apart they may be where there is but one core.
constexpr uint64_t kLongestOnOneCoreNs = 10'000'000'000;

uint64_t cpu_time_ns(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t page_count(const trace::PageDelta& delta) {
  uint64_t pages = snapshot::total_pages(delta.held);
  for (const snapshot::PageRun& run : delta.pages) pages += run.bytes.size() / kPageSize;
  return pages;
}

void add_all(RangeSet& all, const RangeSet& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

SnapshotRate Recorder::Impl::snapshot_rate() const {
  const auto ns_of = [](std::chrono::nanoseconds time) {
    return static_cast<uint64_t>(time.count());
  };
  SnapshotRate rate;
  rate.overhead_percent = options_.snapshot_overhead_percent;
  rate.bytes_per_second = options_.snapshot_bytes_per_second;
  rate.longest_ns = ns_of(options_.longest_snapshot_interval);
  // The sink's work is the program's own time where both have one core.
  if (allowed_cpus_.size() == 1) rate.longest_ns = std::max(rate.longest_ns, kLongestOnOneCoreNs);
  if (options_.snapshot_interval) rate.interval_ns = ns_of(*options_.snapshot_interval);
  return rate;
}

// Whether nothing is about to happen to a task.
bool Recorder::Impl::is_undisturbed(const Task& task) {
  return task.announced && !task.unread && !task.in_exit_stop && !task.in_group_stop &&
         !task.signal && !task.delivery && !task.interrupted && !task.restarted &&
         task.held.empty();
}

// Whether it stands behind its last event besides.
bool Recorder::Impl::is_in_order(const Task& task) {
  return task.behind_event && is_undisturbed(task);
}

// Whether others may store to what is in a memory.
bool Recorder::Impl::may_be_shared(const Space& space) {
  if (!space.memory.has_shared()) return false;
  if (!space.may_be_shared) {
    const auto& mappings = space.memory.mappings();
    space.may_be_shared = std::any_of(mappings.begin(), mappings.end(), [](const auto& item) {
      return item.second.shared && item.second.writable();
    });
  }
  return *space.may_be_shared;
}

// Whether all of task_'s memory is as the log has it: nobody in it has run since its last event.
bool Recorder::Impl::is_at_rest() const {
  return is_in_order(*task_) && !task_->call && others_are_at_rest();
}

bool Recorder::Impl::others_are_at_rest() const {
  const bool shares = may_be_shared(*task_->space);
  return std::all_of(tasks_.begin(), tasks_.end(), [&](const auto& item) {
    const Task& task = *item.second;
    if (&task == task_) return true;
    const bool waits = !task.call && task.state == TaskState::kStopped;
    // What others have of its shared memory is to be in order as well.
    if (task.space != task_->space) {
      return !shares || (is_in_order(task) && (waits || task.stands_in_call));
    }
    const bool blocks = task.call && task.stands_in_call && states_.contains(item.first);
    return is_in_order(task) && task.process == task_->process && (blocks || waits);
  });
}

// Whether task_'s memory has snapshots, and may have one now.
bool Recorder::Impl::has_snapshots() const {
  // Events of other tasks' calls are written while one is taken: no place for another one.
  return options_.snapshot_overhead_percent != 0 && !taking_snapshot_ &&
         !task_->space->snapshots.given_up;
}

// Knows of a first one what it will take.
SnapshotPace& Recorder::Impl::pace_of_snapshots(const SnapshotRate& rate, uint64_t time_ns) {
  SnapshotPace& pace = task_->space->snapshots.pace;
  if (pace.wants_guess(rate, time_ns)) {
    const uint64_t pages = snapshot::private_pages(task_->process->pid);
    pace.guess_first({pages * kWriteNs, pages * kWrittenBytes});
  }
  return pace;
}

Result<void> Recorder::Impl::snapshot_if_due() {
  release_held_forks();
  if (!has_snapshots()) return {};
  const SnapshotRate rate = snapshot_rate();
  const trace::SnapshotWork work = sink_.snapshot_work(task_->space->number);
  SnapshotPace& pace = pace_of_snapshots(rate, last_event_ns_);
  if (!pace.is_due(rate, last_event_ns_, work) || !is_at_rest()) return {};
  if (!can_afford_snapshot(rate)) return {};
  taking_snapshot_ = true;
  Result<void> taken = take_page_snapshot();
  taking_snapshot_ = false;
  return taken;
}

// What others may have stored is read whole for each one, while they wait. Gives them up where that
// is too much.
bool Recorder::Impl::can_afford_snapshot(const SnapshotRate& rate) {
  Space& space = *task_->space;
  if (!may_be_shared(space)) return true;
  const uint64_t pages = pages_stored_to(space);
  if (pages > kMostStoredTo) {
    give_up_snapshots(space, task_->process->pid,
                      {ErrorKind::kUnsupported, 0, "others may store to more than 1 GiB of it"});
    return false;
  }
  const uint64_t expected_ns = space.snapshots.last_pause_ns.value_or(pages * kReadNs);
  return rate.interval_ns || snapshot_budget_.allows(last_event_ns_, expected_ns);
}

Result<void> Recorder::Impl::take_page_snapshot() {
  const std::shared_ptr<Space> space = task_->space;
  PageSnapshots& state = space->snapshots;
  const uint64_t begin_ns = now_ns();
  trace::PageDelta delta;
  // As take_state(): what the kernel stores for others meanwhile is to be in the log.
  for (bool again = true; again;) {
    RCHK_TRY_ASSIGN(again, log_ended_calls());
    if (again) continue;
    if (const Result<void> tracking = begin_interval(); !tracking) {
      give_up_snapshots(*space, task_->process->pid, tracking.error());
      return {};
    }
    RCHK_TRY_ASSIGN(const RangeSet pages,
                    changed_ranges(state.begun ? Copied::kChanges : Copied::kAll));
    delta = {};  // a fork that it holds
    release_held_forks();
    RCHK_TRY_ASSIGN(delta, take_changes(pages));
    RCHK_TRY_ASSIGN(again, log_ended_calls());
    if (again) continue;
    RCHK_TRY_ASSIGN(again, log_partial_stores());
  }
  const trace::SnapshotWork work = sink_.snapshot_work(space->number);
  const uint64_t pages = page_count(delta);
  // Behind an event of this memory, and of no other. If not, what was found counts the next time.
  const bool in_place = space->last_event.value + 1 == event_count_ && is_at_rest();
  const bool unchanged = state.begun && pages == 0 && delta.reset.empty();
  if (in_place && !unchanged) {
    RCHK_TRY_ASSIGN(trace::Snapshot taken, describe_snapshot(task_->last_registers));
    RCHK_TRY(add_snapshot(std::move(taken), std::move(delta), begin_ns));
  }
  note_snapshot_cost(begin_ns, work, pages);
  return {};
}

// Behind the event that was appended last.
Result<void> Recorder::Impl::add_snapshot(trace::Snapshot taken, trace::PageDelta delta,
                                          uint64_t begin_ns) {
  PageSnapshots& state = task_->space->snapshots;
  taken.event = task_->space->last_event;
  taken.touched = std::exchange(state.touched_before, {});
  add_all(taken.touched, delta.reset);
  add_all(taken.touched, delta.held);
  for (const snapshot::PageRun& run : delta.pages) {
    taken.touched.push_back(range_of(run.address, run.bytes.size()));
  }
  taken.touched = snapshot::normalized(std::move(taken.touched));
  taken.pause_ns = now_ns() - begin_ns;
  state.begun = true;
  // The tracker may have seen stores to these already, and the log tells of them later.
  state.changes.begin_anew(taken.unsettled);
  return sink_.add_snapshot(std::move(taken), std::move(delta));
}

void Recorder::Impl::note_snapshot_cost(uint64_t begin_ns, const trace::SnapshotWork& work,
                                        uint64_t pages) {
  PageSnapshots& state = task_->space->snapshots;
  const uint64_t tracking_ns = pages * (state.reference ? kCopyNs : kFaultNs);
  const uint64_t end_ns = now_ns();
  state.pace.note(snapshot_rate(), {begin_ns, end_ns, tracking_ns, work});
  state.last_pause_ns = end_ns - begin_ns;
  if (may_be_shared(*task_->space)) snapshot_budget_.note(end_ns - begin_ns);
}

// Whether task_ has computed on for long without a call that a snapshot could be taken behind.
bool Recorder::Impl::snapshot_is_overdue() {
  if (task_->call || !has_snapshots()) return false;
  Space& space = *task_->space;
  const SnapshotRate rate = snapshot_rate();
  const uint64_t time_ns = now_ns();
  const trace::SnapshotWork work = sink_.snapshot_work(space.number);
  if (!pace_of_snapshots(rate, time_ns).is_overdue(rate, time_ns, work)) return false;
  if (!can_afford_snapshot(rate)) return false;
  // What the kernel is storing for others is in no state that a replay comes to; nor is what
  // other processes store in one that replays this process alone.
  const bool shares = may_be_shared(space);
  return std::all_of(tasks_.begin(), tasks_.end(), [&](const auto& item) {
    const Task& task = *item.second;
    if (&task == task_) return true;
    if (task.space != task_->space) return !shares;
    return task.call ? waits_without_stores(task) : task.state == TaskState::kStopped;
  });
}

// Whether a task waits in a call for which the kernel stores nothing to memory of the guest's own.
bool Recorder::Impl::waits_without_stores(const Task& task) const {
  const PendingCall& call = *task.call;
  if (!is_in_order(task) || !task.stands_in_call || call.at_entry || call.pages_before)
    return false;
  return (call.scratch || most_stored(task).empty()) && state_in_kernel(task.tid) == 'S';
}

// The pages that changed since the last snapshot are all that can have changed since task_'s last
// event: they are the state by which a replay finds the place. Those of a task that has its memory
// to itself are in the snapshot alone: where that is lost no other task's events depend on the
// place.
Result<void> Recorder::Impl::take_snapshot_in_computation() {
  Task& task = *task_;
  if (task.call || !is_undisturbed(task)) return {};
  trace::SwitchEvent event;
  event.place = trace::Place::kByState;
  RCHK_TRY_ASSIGN(const Registers now, registers());
  if (stands_in_trap(now)) return {};
  RCHK_TRY_ASSIGN(event.registers, registers_at_place());
  RCHK_TRY_ASSIGN(event.extended_state, task.tracee.extended_state());
  const std::shared_ptr<Space> space = task.space;
  const uint64_t begin_ns = now_ns();
  if (const Result<void> tracking = begin_interval(); !tracking) {
    give_up_snapshots(*space, task_->process->pid, tracking.error());
    return {};
  }
  const bool begun = space->snapshots.begun;
  RCHK_TRY_ASSIGN(const RangeSet ranges, changed_ranges(begun ? Copied::kChanges : Copied::kAll));
  const trace::SnapshotWork work = sink_.snapshot_work(space->number);
  const uint64_t pages = snapshot::total_pages(ranges);
  release_held_forks();
  RCHK_TRY_ASSIGN(trace::PageDelta delta, take_changes(ranges));
  if (memory_is_used_by_others(task)) {
    StatePages state = state_pages(ranges, event.registers);
    event.dirty = std::move(state.contents);
    event.checksums = std::move(state.checksums);
  } else {
    event.place = trace::Place::kBySnapshot;
  }
  // All that can fail, for the guest may be killed at any moment, comes before the event: one whose
  // place only a snapshot tells must not be without.
  std::optional<trace::Snapshot> taken;
  if (others_are_at_rest()) {
    RCHK_TRY_ASSIGN(taken, describe_snapshot(event.registers));
  } else if (event.place == trace::Place::kBySnapshot) {
    note_snapshot_cost(begin_ns, work, pages);
    return {};
  }
  task.last_registers = event.registers;
  RCHK_TRY(append(std::move(event)));
  task.behind_event = true;
  if (taken) RCHK_TRY(add_snapshot(std::move(*taken), std::move(delta), begin_ns));
  note_snapshot_cost(begin_ns, work, pages);
  return {};
}

// The recording goes on without.
void Recorder::Impl::give_up_snapshots(Space& space, pid_t pid, const Error& error) {
  say_once(
      fmt::format("No page snapshots of process {} any more: {}. A replay of it has to begin "
                  "where there is one, or at its start.",
                  pid, error.message()));
  space.snapshots = {};
  space.snapshots.given_up = true;
}

// But for its event, where task_ stands with these registers. REQUIRES: others_are_at_rest()
Result<trace::Snapshot> Recorder::Impl::describe_snapshot(const Registers& registers) {
  const Space& space = *task_->space;
  trace::Snapshot taken;
  taken.program = space.program;
  taken.cpu_ns = cpu_time_ns(task_->process->pid);
  trace::ExecEvent image;
  image.registers = registers;
  RCHK_TRY_ASSIGN(image.extended_state, task_->tracee.extended_state());
  for (const auto& [begin, mapping] : space.memory.mappings()) image.mappings.push_back(mapping);
  image.brk = space.brk;
  image.pid = task_->process->pid;
  image.stack_limit_bytes = stack_limit_bytes(task_->process->pid);
  taken.image = {now_ns(), std::move(image), {task_->tid}, space.number};
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_ || task->space != task_->space) continue;
    RCHK_TRY_ASSIGN(trace::WaitingTask other, describe_task(*task));
    taken.others.push_back(std::move(other));
  }
  taken.unsettled = memory_in_flight(space);
  return taken;
}

}  // namespace rchk::record
