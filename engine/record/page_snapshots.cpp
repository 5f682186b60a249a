// Page snapshots: what of a guest's memory changed, now and then (docs/notes/page-snapshots.md).

#include <algorithm>
#include <ctime>
#include <thread>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/record/address_changes.h"
#include "engine/record/process.h"
#include "engine/record/recorder_impl.h"
#include "snapshot/memory_reader.h"
#include "snapshot/tracker_probe.h"

namespace rchk::record {

namespace {

using snapshot::RangeSet;

// A program that ends sooner needs none.
constexpr uint64_t kFirstAfterNs = 500'000'000;
constexpr uint64_t kShortestIntervalNs = 250'000'000;
// How long a program that computes may go without a call that one can be taken behind.
constexpr uint64_t kPatienceNs = 1'000'000'000;
// The most that an event by state may hold for one.
constexpr uint64_t kMostPagesOfState = (32 << 20) / kPageSize;
// What each page that a tracker looks at costs the guest at its next write to it: a fault, or a
// copy where a fork holds on to it (docs/notes/dirty-trackers.md).
constexpr uint64_t kFaultNs = 1'000, kCopyNs = 5'000;
// Ranges of replaced memory before those that touch are joined.
constexpr size_t kMostUnjoined = 4096;
// From so many on, pages are read from a fork while the guest runs on.
constexpr uint64_t kFewestHeldPages = (16 << 20) / kPageSize;
// Of what a call may store to, where its result is not known yet.
constexpr int64_t kMostStored = 16 << 20;

uint64_t cpu_time_ns(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

bool is_filtered(pid_t tid) {
  const auto status = read_proc_file(tid, "status");
  if (!status) return true;
  const std::string_view text(reinterpret_cast<const char*>(status->data()), status->size());
  return text.find("\nSeccomp:\t0\n") == std::string_view::npos;
}

uint64_t page_count(const trace::PageDelta& delta) {
  uint64_t pages = snapshot::total_pages(delta.held);
  for (const snapshot::PageRun& run : delta.pages) pages += run.bytes.size() / kPageSize;
  return pages;
}

void add_all(RangeSet& all, const RangeSet& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// The memory of a fork that does not run. When that ends, there is nothing to read any more.
class ForkHolder final : public trace::MemoryHolder {
 public:
  explicit ForkHolder(snapshot::MemoryReader memory) : memory_(std::move(memory)) {}
  size_t read(GuestAddress address, std::span<uint8_t> bytes) const override {
    return memory_.read(address, bytes).value_or(0);
  }

 private:
  snapshot::MemoryReader memory_;
};

bool can_read(const tracee::Tracee& process, GuestAddress address) {
  uint8_t byte = 0;
  return process.read_memory(address, {&byte, 1}) == 1;
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
  const std::vector<trace::MemoryWrite>* writes = nullptr;
  if (const auto* call = std::get_if<trace::SyscallEvent>(&body)) {
    changes = &call->changes;
    writes = &call->writes;
  } else if (const auto* memory = std::get_if<trace::MemoryEvent>(&body)) {
    changes = &memory->changes;
    writes = &memory->writes;
  }
  if (changes == nullptr) return;
  note_shown_of_files(space, *writes);
  if (!space.snapshots.tracker) return;
  snapshot::DirtyTracker& tracker = *space.snapshots.tracker;
  if (taking_snapshot_) {
    // Between two intervals of the tracker, for neither of them, if the kernel stored just then.
    for (const trace::MemoryWrite& write : *writes) {
      space.snapshots.written.push_back(range_of(write.address, write.bytes.size()).pages());
    }
  }
  for (const trace::AddressSpaceChange& change : *changes) {
    RangeSet replaced;
    add_replaced(change, replaced);
    for (const AddressRange& range : replaced) tracker.contents_changed(range);
    const auto* map = std::get_if<trace::MapChange>(&change);
    if (map != nullptr && !map->mapping.shared) tracker.private_memory_mapped(map->mapping.range);
    add_all(space.snapshots.replaced, replaced);
  }
  PageSnapshots& state = space.snapshots;
  if (state.replaced.size() < std::max(kMostUnjoined, 2 * state.replaced_joined)) return;
  state.replaced = snapshot::normalized(std::move(state.replaced));
  state.replaced_joined = state.replaced.size();
}

void Recorder::Impl::note_shown_of_files(Space& space,
                                         const std::vector<trace::MemoryWrite>& writes) {
  if (!files_.any_may_be_written()) return;
  const size_t known = space.shown_of_files.size();
  for (const trace::MemoryWrite& write : writes) {
    const trace::Mapping* const mapping = space.memory.find(write.address);
    if (mapping == nullptr || mapping->shared || !mapping->backing) continue;
    if (!files_.may_be_written(mapping->backing->file)) continue;
    space.shown_of_files.push_back(range_of(write.address, write.bytes.size()).pages());
  }
  if (space.shown_of_files.size() == known) return;
  space.shown_of_files = snapshot::normalized(std::move(space.shown_of_files));
}

uint64_t Recorder::Impl::interval_ns(uint64_t usual_ns) const {
  if (!options_.snapshot_interval) return usual_ns;
  return static_cast<uint64_t>(std::chrono::nanoseconds(*options_.snapshot_interval).count());
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
  const auto& mappings = space.memory.mappings();
  return std::any_of(mappings.begin(), mappings.end(),
                     [](const auto& item) { return item.second.shared && item.second.writable(); });
}

// Whether all of task_'s memory is as the log has it: nobody in it has run since its last event.
bool Recorder::Impl::is_at_rest() const {
  if (!is_in_order(*task_) || task_->call) return false;
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

bool Recorder::Impl::snapshot_is_due(uint64_t patience_ns) {
  // Events of other tasks' calls are written while one is taken: no place for another one.
  if (options_.snapshot_overhead_percent == 0 || taking_snapshot_) return false;
  PageSnapshots& state = task_->space->snapshots;
  if (state.given_up) return false;
  const uint64_t now = now_ns();
  if (state.next_ns == 0) state.next_ns = now + interval_ns(kFirstAfterNs);
  const uint64_t due_ns = std::max(state.next_ns, paid_off_ns(*task_->space));
  return now >= due_ns + patience_ns;
}

Result<void> Recorder::Impl::snapshot_if_due() {
  release_held_forks();
  if (!snapshot_is_due(0) || !is_at_rest()) return {};
  taking_snapshot_ = true;
  Result<void> taken = take_page_snapshot();
  taking_snapshot_ = false;
  return taken;
}

// When the last one has taken no more than its share of the time since: the sink's work counts as
// well, for the program may want the other cores.
uint64_t Recorder::Impl::paid_off_ns(const Space& space) const {
  const PageSnapshots& state = space.snapshots;
  const uint64_t work_ns = sink_.snapshot_work_ns(space.number) - state.work_ns;
  const double cost_ns = static_cast<double>(state.cost_ns + work_ns);
  return state.last_ns + static_cast<uint64_t>(cost_ns * 100 / options_.snapshot_overhead_percent);
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
  const uint64_t work_ns = sink_.snapshot_work_ns(space->number);
  const uint64_t pages = page_count(delta);
  // Behind an event of this memory, and of no other. If not, what was found counts the next time.
  const bool in_place = space->last_event.value + 1 == event_count_ && is_at_rest();
  const bool unchanged = state.begun && pages == 0 && delta.reset.empty();
  if (in_place && !unchanged) RCHK_TRY(add_snapshot(std::move(delta), begin_ns));
  note_snapshot_cost(begin_ns, work_ns, pages);
  return {};
}

// Behind the event that was appended last.
Result<void> Recorder::Impl::add_snapshot(trace::PageDelta delta, uint64_t begin_ns) {
  PageSnapshots& state = task_->space->snapshots;
  RCHK_TRY_ASSIGN(trace::Snapshot taken, describe_snapshot());
  taken.touched = std::exchange(state.touched_before, {});
  add_all(taken.touched, delta.reset);
  add_all(taken.touched, delta.held);
  for (const snapshot::PageRun& run : delta.pages) {
    taken.touched.push_back(range_of(run.address, run.bytes.size()));
  }
  taken.touched = snapshot::normalized(std::move(taken.touched));
  taken.pause_ns = now_ns() - begin_ns;
  state.begun = true;
  state.replaced.clear();
  state.replaced_joined = 0;
  // The tracker may have seen stores to these already, and the log tells of them later.
  state.written.clear();
  for (const AddressRange& range : taken.unsettled) state.written.push_back(range.pages());
  return sink_.add_snapshot(std::move(taken), std::move(delta));
}

void Recorder::Impl::note_snapshot_cost(uint64_t begin_ns, uint64_t work_ns, uint64_t pages) {
  PageSnapshots& state = task_->space->snapshots;
  state.last_ns = now_ns();
  state.cost_ns = state.last_ns - begin_ns + pages * (state.reference ? kCopyNs : kFaultNs);
  state.work_ns = work_ns;
  state.next_ns = state.last_ns + interval_ns(kShortestIntervalNs);
}

// Whether task_ has computed on for long without a call that a snapshot could be taken behind.
bool Recorder::Impl::snapshot_is_overdue() {
  // Also where they are asked for whatever they cost, so that a program that stores faster than
  // they are written gets on.
  const PageSnapshots& state = task_->space->snapshots;
  const uint64_t work_ns = sink_.snapshot_work_ns(task_->space->number) - state.work_ns;
  const uint64_t patience_ns = std::max(interval_ns(kPatienceNs), 4 * (state.cost_ns + work_ns));
  if (task_->call || !snapshot_is_due(patience_ns)) return false;
  // What the kernel may be storing for others is in no state that a replay comes to; nor is what
  // other processes store in one that replays this process alone.
  const bool shares = may_be_shared(*task_->space);
  return std::all_of(tasks_.begin(), tasks_.end(), [&](const auto& item) {
    const Task& task = *item.second;
    if (&task == task_) return true;
    if (task.space != task_->space) return !shares;
    return !task.call && task.state == TaskState::kStopped;
  });
}

// The pages that changed since the last snapshot are all that can have changed since task_'s last
// event: they are the state by which a replay finds the place.
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
  const uint64_t work_ns = sink_.snapshot_work_ns(space->number);
  const uint64_t pages = snapshot::total_pages(ranges);
  if (pages <= kMostPagesOfState) {
    trace::PageDelta delta = copy_changes(ranges);
    for (const snapshot::PageRun& run : delta.pages) {
      event.dirty.push_back({run.address, run.bytes});
    }
    task.last_registers = event.registers;
    RCHK_TRY(append(std::move(event)));
    task.behind_event = true;
    if (is_at_rest()) RCHK_TRY(add_snapshot(std::move(delta), begin_ns));
  }
  note_snapshot_cost(begin_ns, work_ns, pages);
  return {};
}

// Notes what the tracker names, and lets it begin anew. Comes before pages are copied: what the
// kernel stores for a task that blocks while they are is then a change behind them as well.
Result<void> Recorder::Impl::begin_interval() {
  PageSnapshots& state = task_->space->snapshots;
  if (state.tracker && is_lost(state.tracked)) {
    state.tracker.reset();
    state.begun = false;
  }
  if (state.begun) {
    RCHK_TRY_ASSIGN(const snapshot::DirtyPages dirty, state.tracker->collect());
    add_all(state.written, dirty.pages);
    state.written = snapshot::normalized(std::move(state.written));
  }
  return begin_tracking();
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
    RCHK_TRY_ASSIGN(trace::WaitingTask other, describe_task(*task));
    taken.others.push_back(std::move(other));
  }
  taken.unsettled = memory_in_flight(space);
  return taken;
}

// Where calls may be storing.
RangeSet Recorder::Impl::memory_in_flight(const Space& space) const {
  RangeSet stored;
  for (const auto& [tid, task] : tasks_) {
    const bool stores = task->space.get() == &space && task->call && !task->call->scratch;
    if (stores) add_all(stored, most_stored(*task));
  }
  return stored;
}

// Where the call of a task may store.
RangeSet Recorder::Impl::most_stored(const Task& task) {
  return syscalls::outputs(task.call->entry, kMostStored, GuestReader(task.tracee)).ranges;
}

// All pages of the guest's own, or those that the tracker names, and what no tracker sees.
Result<RangeSet> Recorder::Impl::changed_ranges(Copied what) {
  Space& space = *task_->space;
  PageSnapshots& state = space.snapshots;
  RCHK_TRY(grow_stacks(task_->tid, space.memory));
  std::vector<trace::Mapping> whole;  // mappings of which all counts
  RangeSet pages, mapped;
  const RangeSet replaced = snapshot::normalized(state.replaced);
  for (const auto& [begin, mapping] : space.memory.mappings()) {
    snapshot::append_in_order(mapped, mapping.range);
    // Others may have stored where this process has not looked.
    if (mapping.shared && mapping.writable()) pages.push_back(mapping.range);
    if (what == Copied::kAll || mapping.shared) {
      whole.push_back(mapping);
    } else {
      for (const AddressRange& part : snapshot::intersection({mapping.range}, replaced)) {
        trace::Mapping piece = mapping;
        piece.range = part;
        whole.push_back(std::move(piece));
      }
    }
  }
  RCHK_TRY_ASSIGN(const RangeSet own, own_page_ranges(task_->tracee, whole));
  add_all(pages, own);
  add_all(pages, state.written);
  add_all(pages, space.shown_of_files);
  return snapshot::intersection(snapshot::normalized(std::move(pages)), mapped);
}

// What changed. Of many pages there is a fork, which the sink reads while the guest runs on; it
// does not hold what is shared. The first process's only: the parent of another one might hear of a
// fork that ends at any time.
Result<trace::PageDelta> Recorder::Impl::take_changes(const RangeSet& pages) {
  const PageSnapshots& state = task_->space->snapshots;
  const bool can_hold = task_->process->pid == first_pid_ && state.tracker && !state.reference &&
                        !task_->space->fork_advised && held_forks_.empty();
  if (!can_hold || snapshot::total_pages(pages) < kFewestHeldPages) return copy_changes(pages);
  RangeSet own, shared;
  for (const auto& [begin, mapping] : task_->space->memory.mappings()) {
    snapshot::append_in_order(mapping.shared ? shared : own, mapping.range);
  }
  RangeSet held_pages = snapshot::intersection(pages, own);
  if (snapshot::total_pages(held_pages) < kFewestHeldPages) return copy_changes(pages);
  const GuestAddress first = held_pages.front().begin;
  Result<tracee::Tracee> forked = fork_reference();
  if (!forked && forked.error().kind == ErrorKind::kGone) return Failure(forked.error());
  if (!forked) return copy_changes(pages);
  Result<snapshot::MemoryReader> memory = snapshot::MemoryReader::open(forked->pid());
  if (!memory || !can_read(*forked, first)) return copy_changes(pages);
  HeldFork& held = held_forks_.emplace_back(HeldFork{std::move(*forked), task_->space, first, {}});
  trace::PageDelta delta = copy_changes(snapshot::intersection(pages, shared));
  delta.held = std::move(held_pages);
  delta.holder = std::make_shared<const ForkHolder>(std::move(*memory));
  held.holder = delta.holder;
  return delta;
}

// Ends forks that nobody reads any more.
void Recorder::Impl::release_held_forks() {
  for (auto held = held_forks_.begin(); held != held_forks_.end();) {
    if (!held->holder.expired()) {
      ++held;
      continue;
    }
    if (!can_read(held->fork, held->first_page)) {
      give_up_snapshots(*held->space, first_pid_,
                        Error{ErrorKind::kGone, 0, "a copy of it was killed"});
    }
    held = held_forks_.erase(held);
  }
}

// What the sink still has to read is lost otherwise.
void Recorder::Impl::wait_for_held_forks() {
  constexpr uint64_t kLongestNs = 60'000'000'000;
  const uint64_t give_up_ns = monotonic_ns() + kLongestNs;
  const auto is_read = [](const HeldFork& held) { return held.holder.expired(); };
  while (!std::all_of(held_forks_.begin(), held_forks_.end(), is_read) &&
         monotonic_ns() < give_up_ns) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  held_forks_.clear();
}

trace::PageDelta Recorder::Impl::copy_changes(const RangeSet& pages) {
  Space& space = *task_->space;
  const bool were_in = space.breakpoints.inserted();
  if (were_in) space.breakpoints.remove_all(task_->tracee);
  trace::PageDelta delta;
  delta.reset = snapshot::normalized(space.snapshots.replaced);
  delta.pages = copy_pages(task_->tracee, pages);
  if (were_in) space.breakpoints.insert_all(task_->tracee);
  return delta;
}

// From now on the tracker tells what changes.
Result<void> Recorder::Impl::begin_tracking() {
  PageSnapshots& state = task_->space->snapshots;
  if (!state.tracker) {
    state.tracked = lasting_task();
    RCHK_TRY_ASSIGN(state.tracker, new_tracker());
  }
  if (!snapshot::needs_reference(state.tracker->kind())) return state.tracker->begin(-1);
  if (state.reference) {
    tracee::Tracee old = std::move(*state.reference);
    state.reference.reset();
    RCHK_TRY(end_reference(old));
  }
  if (!can_fork_reference()) {
    return fail(ErrorKind::kUnsupported, "the guest would hear of a fork to compare with");
  }
  RCHK_TRY_ASSIGN(state.reference, fork_reference());
  return state.tracker->begin(state.reference->pid());
}

// The best one that works. Probing them all takes 50 ms, in which the guest stands still; so the
// one that is likely to work is tried at once.
Result<std::unique_ptr<snapshot::DirtyTracker>> Recorder::Impl::new_tracker() {
  using snapshot::TrackerKind;
  const pid_t tracked = task_->space->snapshots.tracked;
  std::optional<TrackerKind> kind = options_.dirty_tracker ? options_.dirty_tracker : tracker_kind_;
  if (!kind || *kind == TrackerKind::kUserfaultfd) {
    auto tracker = new_userfaultfd_tracker(tracked);
    if (tracker || kind) return tracker;
    if (is_filtered(task_->tid)) return tracker;
    const TscMirror::Pause pause(tsc_mirror_);
    std::vector<snapshot::TrackerProbe> probes = snapshot::probe_trackers();
    std::erase_if(probes, [](const snapshot::TrackerProbe& probe) {
      return probe.kind == TrackerKind::kUserfaultfd;
    });
    RCHK_TRY_ASSIGN(tracker_kind_, snapshot::best_tracker(probes));
    kind = tracker_kind_;
  }
  return snapshot::make_tracker(*kind, tracked);
}

Result<std::unique_ptr<snapshot::DirtyTracker>> Recorder::Impl::new_userfaultfd_tracker(
    pid_t tracked) {
  RCHK_TRY_ASSIGN(FileDescriptor userfaultfd, userfaultfd_of_guest());
  return snapshot::make_userfaultfd_tracker(tracked, std::move(userfaultfd));
}

// A userfaultfd of task_'s memory, which only the guest itself can make. It has no descriptor of it
// afterwards.
Result<FileDescriptor> Recorder::Impl::userfaultfd_of_guest() {
  constexpr uint64_t kFlags = O_CLOEXEC | UFFD_USER_MODE_ONLY;
  // A filter may kill the guest for a call that it does not make itself.
  if (is_filtered(task_->tid)) {
    return fail(ErrorKind::kUnsupported, "the process has a seccomp filter");
  }
  const GuestAddress gadget = task_->space->confinement.gadget;
  RCHK_TRY_ASSIGN(const int64_t made,
                  task_->tracee.remote_syscall(gadget, SYS_userfaultfd, {kFlags}));
  if (made < 0) return fail_errno("userfaultfd in the guest", static_cast<int>(-made));
  const FileDescriptor process(static_cast<int>(syscall(SYS_pidfd_open, task_->process->pid, 0)));
  FileDescriptor taken;
  if (process.is_open()) {
    taken = FileDescriptor(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), made, 0)));
  }
  const int error = errno;
  RCHK_TRY(task_->tracee.remote_syscall(gadget, SYS_close, {static_cast<uint64_t>(made)}));
  if (!taken.is_open()) return fail_errno("taking a userfaultfd from the guest", error);
  return taken;
}

// What a tracker has to know before a call changes mappings.
Result<void> Recorder::Impl::tell_tracker_of_call(const syscalls::Call& made) {
  snapshot::DirtyTracker* const tracker = task_->space->snapshots.tracker.get();
  if (tracker == nullptr) return {};
  const AddressRange range = range_of({made.arguments[0]}, made.arguments[1]);
  switch (made.number) {
    case syscalls::nr::mremap:
      return tracker->about_to_remap(range);
    case syscalls::nr::mprotect:
    case syscalls::nr::pkey_mprotect:
    case syscalls::nr::madvise:
    case syscalls::nr::mlock:
    case syscalls::nr::mlock2:
    case syscalls::nr::munlock:
    case syscalls::nr::mbind:
      return tracker->about_to_protect(range);
    case syscalls::nr::prctl:
      if (made.arguments[0] != PR_SET_VMA) return {};
      return tracker->about_to_protect(range_of({made.arguments[2]}, made.arguments[3]));
    default:
      return {};
  }
}

}  // namespace rchk::record
