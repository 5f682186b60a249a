// Page snapshots: what of a guest's memory changed, now and then (docs/notes/page-snapshots.md).

#include <algorithm>
#include <ctime>

#include "engine/record/address_changes.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using snapshot::RangeSet;

// A program that ends sooner needs none.
constexpr uint64_t kFirstAfterNs = 500'000'000;
constexpr uint64_t kShortestIntervalNs = 250'000'000;
// What each page that a tracker looks at costs the guest at its next write to it: a fault, or a
// copy where a fork holds on to it (docs/notes/dirty-trackers.md).
constexpr uint64_t kFaultNs = 1'000, kCopyNs = 5'000;
// Of what a call may store to, where its result is not known yet.
constexpr int64_t kMostStored = 16 << 20;

uint64_t cpu_time_ns(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

void add_all(RangeSet& all, const RangeSet& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// Where a change of an address space leaves other contents than before.
void add_replaced(const trace::AddressSpaceChange& change, RangeSet& ranges) {
  if (const auto* map = std::get_if<trace::MapChange>(&change)) {
    ranges.push_back(map->mapping.range);
  } else if (const auto* unmap = std::get_if<trace::UnmapChange>(&change)) {
    ranges.push_back(unmap->range);
  } else if (const auto* discard = std::get_if<trace::DiscardChange>(&change)) {
    ranges.push_back(discard->range);
  } else if (const auto* moved = std::get_if<trace::RemapChange>(&change)) {
    add_all(ranges, {moved->from, moved->to});
  }
}

}  // namespace

// Takes in what an event says of memory that a tracker does not see.
void Recorder::Impl::note_for_snapshots(Space& space, const trace::EventBody& body) {
  space.last_event = {event_count_};
  if (options_.snapshot_overhead_percent == 0) return;
  const std::vector<trace::AddressSpaceChange>* changes = nullptr;
  if (const auto* call = std::get_if<trace::SyscallEvent>(&body)) changes = &call->changes;
  if (const auto* memory = std::get_if<trace::MemoryEvent>(&body)) changes = &memory->changes;
  if (changes == nullptr || !space.snapshots.tracker) return;
  for (const trace::AddressSpaceChange& change : *changes) {
    RangeSet replaced;
    add_replaced(change, replaced);
    for (const AddressRange& range : replaced) space.snapshots.tracker->contents_changed(range);
    add_all(space.snapshots.replaced, replaced);
  }
}

uint64_t Recorder::Impl::interval_ns(uint64_t usual_ns) const {
  if (!options_.snapshot_interval) return usual_ns;
  return static_cast<uint64_t>(std::chrono::nanoseconds(*options_.snapshot_interval).count());
}

// Whether all of task_'s memory is as the log has it: nobody in it has run since its last event.
bool Recorder::Impl::is_at_rest() const {
  const auto in_order = [](const Task& task) {
    return task.behind_event && task.announced && !task.unread && !task.in_exit_stop &&
           !task.in_group_stop && !task.signal && !task.delivery && !task.interrupted &&
           !task.restarted && task.held.empty();
  };
  if (!in_order(*task_) || task_->call) return false;
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_ || task->space != task_->space) continue;
    const bool blocks = task->call && task->stands_in_call && states_.contains(tid);
    const bool waits = !task->call && task->state == TaskState::kStopped;
    if (!in_order(*task) || task->process != task_->process || (!blocks && !waits)) return false;
  }
  return true;
}

Result<void> Recorder::Impl::snapshot_if_due() {
  if (options_.snapshot_overhead_percent == 0) return {};
  PageSnapshots& state = task_->space->snapshots;
  const uint64_t now = now_ns();
  if (state.next_ns == 0) state.next_ns = now + interval_ns(kFirstAfterNs);
  if (now < state.next_ns || !is_at_rest()) return {};
  return take_page_snapshot();
}

Result<void> Recorder::Impl::take_page_snapshot() {
  const std::shared_ptr<Space> space = task_->space;
  PageSnapshots& state = space->snapshots;
  const uint64_t begin_ns = now_ns();
  trace::Snapshot taken;
  trace::PageDelta delta;
  // As take_state(): what the kernel stores for others meanwhile is to be in the log.
  for (bool again = true; again;) {
    RCHK_TRY_ASSIGN(again, log_ended_calls());
    if (again) continue;
    RCHK_TRY_ASSIGN(delta, changed_since_snapshot());
    RCHK_TRY_ASSIGN(again, log_ended_calls());
  }
  // Behind an event of this memory, and of no other.
  const bool in_place = space->last_event.value + 1 == event_count_ && is_at_rest();
  if (!in_place) return {};
  const bool unchanged = state.begun && delta.pages.empty() && delta.reset.empty();
  uint64_t pages = 0;
  for (const snapshot::PageRun& run : delta.pages) pages += run.bytes.size() / kPageSize;
  if (!unchanged) {
    RCHK_TRY_ASSIGN(taken, describe_snapshot());
    taken.touched = delta.reset;
    for (const snapshot::PageRun& run : delta.pages) {
      taken.touched.push_back(range_of(run.address, run.bytes.size()));
    }
    taken.touched = snapshot::normalized(std::move(taken.touched));
    RCHK_TRY(begin_tracking());
    state.begun = true;
    state.replaced.clear();
    taken.pause_ns = now_ns() - begin_ns;
    RCHK_TRY(sink_.add_snapshot(std::move(taken), std::move(delta)));
  }
  const uint64_t end_ns = now_ns();
  const uint64_t fault_ns = state.reference ? kCopyNs : kFaultNs;
  const double cost_ns = static_cast<double>(end_ns - begin_ns + pages * fault_ns);
  const double pays_after_ns = cost_ns * 100 / options_.snapshot_overhead_percent;
  state.next_ns =
      end_ns + std::max(interval_ns(kShortestIntervalNs), static_cast<uint64_t>(pays_after_ns));
  return {};
}

// REQUIRES: is_at_rest()
Result<trace::Snapshot> Recorder::Impl::describe_snapshot() {
  const Space& space = *task_->space;
  trace::Snapshot taken;
  taken.event = space.last_event;
  taken.program = space.program;
  taken.cpu_ns = cpu_time_ns(task_->process->pid);
  trace::ExecEvent image;
  image.registers = task_->last_registers;
  RCHK_TRY_ASSIGN(image.extended_state, task_->tracee.extended_state());
  for (const auto& [begin, mapping] : space.memory.mappings()) image.mappings.push_back(mapping);
  image.brk = space.brk;
  image.pid = task_->process->pid;
  image.stack_limit_bytes = stack_limit_bytes(task_->process->pid);
  taken.image = {now_ns(), std::move(image), {task_->tid}, space.number};
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == task_ || task->space != task_->space) continue;
    trace::WaitingTask other{{tid}, task->stands_in_call, task->last_registers, {}};
    if (task->call) {
      other.registers = task->call->before;
      other.extended_state = states_.at(tid);
      const syscalls::Outputs stored =
          syscalls::outputs(task->call->entry, kMostStored, GuestReader(task->tracee));
      add_all(taken.unsettled, stored.ranges);
    } else {
      RCHK_TRY_ASSIGN(other.extended_state, task->tracee.extended_state());
    }
    taken.others.push_back(std::move(other));
  }
  return taken;
}

// At the first time all pages of the guest's own; then those that the tracker names, and what no
// tracker sees.
Result<trace::PageDelta> Recorder::Impl::changed_since_snapshot() {
  Space& space = *task_->space;
  PageSnapshots& state = space.snapshots;
  if (state.tracker && is_lost(state.tracked)) state.begun = false;
  RCHK_TRY(grow_stacks(task_->tid, space.memory));
  const bool were_in = space.breakpoints.inserted();
  if (were_in) space.breakpoints.remove_all(task_->tracee);
  trace::PageDelta delta;
  std::vector<trace::Mapping> whole;  // mappings of which all counts
  RangeSet pages, mapped;
  delta.reset = snapshot::normalized(state.replaced);
  for (const auto& [begin, mapping] : space.memory.mappings()) {
    snapshot::append_in_order(mapped, mapping.range);
    if (!state.begun) {
      whole.push_back(mapping);
    } else if (mapping.shared) {
      whole.push_back(mapping);
      if (mapping.writable()) pages.push_back(mapping.range);
    } else {
      for (const AddressRange& part : snapshot::intersection({mapping.range}, delta.reset)) {
        trace::Mapping piece = mapping;
        piece.range = part;
        whole.push_back(std::move(piece));
      }
    }
  }
  RCHK_TRY_ASSIGN(const RangeSet own, own_page_ranges(task_->tracee, whole));
  add_all(pages, own);
  if (state.begun) {
    RCHK_TRY_ASSIGN(const snapshot::DirtyPages dirty, state.tracker->collect());
    add_all(pages, dirty.pages);
  }
  pages = snapshot::intersection(snapshot::normalized(std::move(pages)), mapped);
  delta.pages = copy_pages(task_->tracee, pages);
  if (were_in) space.breakpoints.insert_all(task_->tracee);
  return delta;
}

// From now on the tracker tells what changes.
Result<void> Recorder::Impl::begin_tracking() {
  PageSnapshots& state = task_->space->snapshots;
  const pid_t tracked = lasting_task();
  if (state.reference) {
    RCHK_TRY(end_reference(*state.reference));
    state.reference.reset();
  }
  state.tracker.reset();
  RCHK_TRY_ASSIGN(state.reference, fork_reference());
  state.tracked = tracked;
  state.tracker = snapshot::make_tracker(snapshot::TrackerKind::kExclusive, tracked);
  return state.tracker->begin(state.reference->pid());
}

}  // namespace rchk::record
