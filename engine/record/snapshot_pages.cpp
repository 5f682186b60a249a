// Page snapshots: what of a memory is copied for one (docs/notes/page-snapshots.md). When they are
// taken: page_snapshots.cpp.

#include <algorithm>
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

// From so many on, pages are read from a fork while the guest runs on.
constexpr uint64_t kFewestHeldPages = (16 << 20) / kPageSize;
// Of what a call may store to, where its result is not known yet.
constexpr int64_t kMostStored = 16 << 20;

// Whether rchk's own filters, which each guest has and beside which it has none of its own
// (docs/notes/seccomp.md), end a process that asks for a userfaultfd.
bool asking_kills() {
  static const bool kills = has_other_filters() && !snapshot::may_ask_for_userfaultfd();
  return kills;
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
  const std::vector<trace::AddressSpaceChange>* changes = nullptr;
  const std::vector<trace::MemoryWrite>* writes = nullptr;
  bool makes_mappings = true;
  if (const auto* call = std::get_if<trace::SyscallEvent>(&body)) {
    changes = &call->changes;
    writes = &call->writes;
    makes_mappings = call->number != syscalls::nr::mremap;  // of what has grown a part is shown
  } else if (const auto* memory = std::get_if<trace::MemoryEvent>(&body)) {
    changes = &memory->changes;
    writes = &memory->writes;
  }
  const bool executes = std::holds_alternative<trace::ExecEvent>(body);
  if (executes || (changes != nullptr && !changes->empty())) {
    space.may_be_shared.reset();
    space.pages_stored_to.reset();
  }
  if (changes == nullptr || options_.snapshot_overhead_percent == 0) return;
  note_shown_of_files(space, *writes);
  if (!space.snapshots.tracker) return;
  snapshot::DirtyTracker& tracker = *space.snapshots.tracker;
  // Between two intervals of the tracker, for neither of them, if the kernel stored just then.
  // What others store may be where the process itself cannot, where no tracker looks.
  const bool of_others = std::holds_alternative<trace::MemoryEvent>(body);
  if (taking_snapshot_ || of_others) space.snapshots.changes.note_written(*writes);
  for (const trace::AddressSpaceChange& change : *changes) {
    RangeSet replaced;
    add_replaced(change, replaced);
    for (const AddressRange& range : replaced) tracker.contents_changed(range);
    const auto* map = std::get_if<trace::MapChange>(&change);
    if (makes_mappings && map != nullptr && !map->mapping.shared) {
      tracker.private_memory_mapped(map->mapping.range);
    }
    space.snapshots.changes.note_replaced(replaced);
  }
}

void Recorder::Impl::note_shown_of_files(Space& space,
                                         const std::vector<trace::MemoryWrite>& writes) {
  if (!files_.any_may_be_changed()) return;
  const size_t known = space.shown_of_files.size();
  for (const trace::MemoryWrite& write : writes) {
    const trace::Mapping* const mapping = space.memory.find(write.address);
    if (mapping == nullptr || mapping->shared || !mapping->backing) continue;
    if (!files_.may_be_changed(mapping->backing->file)) continue;
    space.shown_of_files.push_back(range_of(write.address, write.bytes.size()).pages());
  }
  if (space.shown_of_files.size() == known) return;
  space.shown_of_files = snapshot::normalized(std::move(space.shown_of_files));
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
    state.changes.note_written(dirty.pages);
  }
  return begin_tracking();
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

// Whether somebody may store to what a mapping shows, in another process or by another view.
bool Recorder::Impl::is_stored_to(const trace::Mapping& mapping) const {
  if (!mapping.shared) return false;
  return mapping.writable() || !mapping.backing || files_.may_be_stored_to(mapping.backing->file);
}

// How many pages others may store to as well, whether or not anybody has used them.
uint64_t Recorder::Impl::pages_stored_to(const Space& space) const {
  if (!space.memory.has_shared()) return 0;
  if (!space.pages_stored_to) {
    uint64_t pages = 0;
    for (const auto& [begin, mapping] : space.memory.mappings()) {
      if (is_stored_to(mapping)) pages += mapping.range.size() / kPageSize;
    }
    space.pages_stored_to = pages;
  }
  return *space.pages_stored_to;
}

// All pages of the guest's own, or those that the tracker names, and what no tracker sees.
Result<RangeSet> Recorder::Impl::changed_ranges(Copied what) {
  Space& space = *task_->space;
  PageSnapshots& state = space.snapshots;
  RCHK_TRY(grow_stacks(task_->tid, space.memory));
  std::vector<trace::Mapping> whole;  // mappings of which all counts
  RangeSet pages, mapped;
  const RangeSet replaced = state.changes.replaced();
  for (const auto& [begin, mapping] : space.memory.mappings()) {
    snapshot::append_in_order(mapped, mapping.range);
    // Others may have stored where this process has not looked.
    if (is_stored_to(mapping)) pages.push_back(mapping.range);
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
  add_all(pages, state.changes.written());
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
    dying_copies_.insert(held->fork.begin_kill());
    held = held_forks_.erase(held);
  }
}

// What became of a copy that nobody needs any more.
void Recorder::Impl::note_dying_copy(pid_t pid, const tracee::StopStatus& stop) {
  if (stop.is_gone()) {
    dying_copies_.erase(pid);
  } else {
    tracee::Tracee::adopt(pid).begin_kill();
  }
}

void Recorder::Impl::bury_dying_copies() {
  for (const pid_t pid : dying_copies_) tracee::Tracee::adopt(pid).kill();
  dying_copies_.clear();
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
  bury_dying_copies();
}

trace::PageDelta Recorder::Impl::copy_changes(const RangeSet& pages) {
  Space& space = *task_->space;
  const bool were_in = space.breakpoints.inserted();
  if (were_in) space.breakpoints.remove_all(task_->tracee);
  trace::PageDelta delta;
  delta.reset = space.snapshots.changes.replaced();
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
  const TscMirror::Pause pause(tsc_mirror_);
  if (asking_kills()) {
    return fail(ErrorKind::kUnsupported, "a seccomp filter kills who asks for a userfaultfd");
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
