// Beginnings: points from which what follows can be replayed without what comes before them, so
// that this can be dropped (docs/notes/flight-recorder.md), or need not be replayed where processes
// share memory (docs/notes/shared-memory.md).

#include <algorithm>
#include <cstdio>
#include <set>

#include "engine/record/address_changes.h"
#include "engine/record/process.h"
#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

using snapshot::RangeSet;

// Of a process (Documentation/arch/x86/x86_64/mm.rst, with five-level page tables).
constexpr AddressRange kAllMemory{{0}, {uint64_t{1} << 56}};

// Calls of other tasks that end while pages are copied make that be done again, so often.
constexpr int kMostAttempts = 4;
// That are copied at once for one that is only a shorter way: 256 MiB.
constexpr uint64_t kMostPages = (256 << 20) / kPageSize;
constexpr char kTooMuch[] = "more than 256 MiB would have to be copied for a place inside";
// Where one is due and processes share no memory, it is looked again so much later.
constexpr uint64_t kSharingLooksNs = 100'000'000;
// The same where that is too much.
constexpr uint64_t kTooMuchLooksNs = 10'000'000'000;

std::optional<int32_t> parent_of(pid_t pid) {
  char state = 0;
  int32_t parent = 0;
  if (std::sscanf(stat_fields(pid).c_str(), "%c %d", &state, &parent) != 2) return std::nullopt;
  return parent;
}

bool needs_a_name(const trace::Mapping& mapping) { return mapping.shared && !mapping.backing; }

}  // namespace

// Whether all memory of all processes is as the log has it, and every task at a place that a replay
// can begin at.
bool Recorder::Impl::all_at_rest() const {
  if (!unknown_.empty() || !is_at_rest()) return false;
  std::map<const Space*, const Process*> owners;
  for (const auto& [tid, task] : tasks_) {
    // A child of vfork is in its parent's memory.
    const auto [owner, fresh] = owners.try_emplace(task->space.get(), task->process.get());
    if (owner->second != task->process.get()) return false;
    if (task.get() == task_) continue;
    const bool waits = !task->call && task->state == TaskState::kStopped;
    const bool blocks = task->call && task->stands_in_call && states_.contains(tid);
    if (!is_in_order(*task) || !(waits || blocks)) return false;
  }
  return true;
}

Result<void> Recorder::Impl::begin_anew_if_wanted() {
  if (taking_snapshot_) return {};
  const bool drops = sink_.wants_beginning();
  if ((!drops && !beginning_is_due()) || !all_at_rest()) return {};
  if (!drops && !processes_share_memory()) {
    look_for_sharing_ns_ = last_event_ns_ + kSharingLooksNs;
    return {};
  }
  if (!drops && pages_stored_to_by_all() > kMostPages) {
    say_that_none_begins({ErrorKind::kUnsupported, 0, kTooMuch}, false);
    return {};
  }
  // Pages that are still to be read from one may be lost.
  release_held_forks();
  if (!held_forks_.empty()) return {};
  if (drops) return begin_anew(false);
  const trace::SnapshotWork work = sink_.beginning_work();
  const uint64_t begin_ns = now_ns();
  RCHK_TRY(begin_anew(true));
  beginning_pace_.note(snapshot_rate(), {begin_ns, now_ns(), 0, work});
  return {};
}

// Of those that share memory none can be replayed from a snapshot of its own alone: what the others
// store from there on only a replay of all tells (docs/notes/shared-memory.md).
bool Recorder::Impl::beginning_is_due() {
  if (tasks_.size() == 1 || options_.snapshot_overhead_percent == 0) return false;
  if (last_event_ns_ < look_for_sharing_ns_) return false;
  return beginning_pace_.is_due(snapshot_rate(), last_event_ns_, sink_.beginning_work());
}

// What is copied of shared memory at the least: each process's views are.
uint64_t Recorder::Impl::pages_stored_to_by_all() const {
  std::set<const Space*> seen;
  uint64_t pages = 0;
  for (const auto& [tid, task] : tasks_) {
    if (seen.insert(task->space.get()).second) pages += pages_stored_to(*task->space);
  }
  return pages;
}

// `drops`: history was to be dropped.
void Recorder::Impl::say_that_none_begins(const Error& error, bool drops) {
  look_for_sharing_ns_ = last_event_ns_ + kTooMuchLooksNs;
  const char* const what =
      drops ? "A replay of all processes cannot begin here, so what comes before is needed and kept"
            : "A replay of processes that share memory begins at the start and may take longer";
  say_once(fmt::format("{}: {}.", what, error.message()));
}

// Whether a memory that somebody may store to is that of several processes.
bool Recorder::Impl::processes_share_memory() const {
  using Identity = std::pair<uint64_t, uint64_t>;  // device, inode; zeros: memory without a file
  std::set<const Space*> seen;
  std::map<Identity, const Space*> users;
  for (const auto& [tid, task] : tasks_) {
    const Space* const space = task->space.get();
    if (!space->memory.has_shared() || !seen.insert(space).second) continue;
    for (const auto& [begin, mapping] : space->memory.mappings()) {
      if (!is_stored_to(mapping)) continue;
      Identity identity{};
      if (mapping.backing) {
        const FileStore::Version& file = files_.version(mapping.backing->file);
        identity = {file.device, file.inode};
      }
      const auto [user, is_new] = users.try_emplace(identity, space);
      if (!is_new && user->second != space) return true;
    }
  }
  return false;
}

Result<void> Recorder::Impl::begin_anew(bool front_stays) {
  Task* const running = task_;
  std::vector<trace::KeptProcess> kept;
  taking_snapshot_ = true;
  const Result<bool> taken = take_beginning(kept, front_stays ? kMostPages : UINT64_MAX);
  taking_snapshot_ = false;
  task_ = running;
  if (!taken) return Failure(taken.error());
  if (!*taken) return {};
  RCHK_TRY(name_shared_objects(kept));
  if (front_stays) return sink_.add_beginning(std::move(kept));
  std::set<snapshot::FileId> files;
  for (const trace::KeptProcess& process : kept) {
    for (const trace::Mapping& mapping : std::get<trace::ExecEvent>(process.event.body).mappings) {
      if (mapping.backing) files.insert(mapping.backing->file);
    }
  }
  files_.keep_only(files);
  return sink_.begin_anew(std::move(kept));
}

// False where it is to be tried again later. Leaves task_ anywhere.
Result<bool> Recorder::Impl::take_beginning(std::vector<trace::KeptProcess>& kept,
                                            uint64_t most_pages) {
  Task* const running = task_;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    RCHK_TRY_ASSIGN(bool ended, log_ended_calls());
    if (ended) continue;
    if (!all_at_rest()) return false;
    std::set<uint32_t> tracked;
    const Result<void> copied = copy_processes(kept, tracked, most_pages);
    task_ = running;
    if (!copied) {
      // Somebody kills one of them: its end is to be heard of.
      if (copied.error().kind == ErrorKind::kGone) return false;
      say_that_none_begins(copied.error(), most_pages == UINT64_MAX);
      return false;
    }
    // The kernel may have stored for a call that has ended since.
    const uint64_t events = event_count_;
    RCHK_TRY_ASSIGN(ended, log_ended_calls());
    if (ended || events != event_count_ || !all_at_rest()) continue;
    for (const trace::KeptProcess& process : kept) note_beginning(process, tracked);
    // The recording's own process comes first.
    std::stable_partition(kept.begin(), kept.end(),
                          [](const trace::KeptProcess& item) { return item.resumed.is_first; });
    return true;
  }
  return false;
}

// Of each memory what changed and whose it is, told by one of its tasks: one that waits for its
// turn, rather than one that blocks in a call. `tracked`: those where a tracker tells what changes
// from now on. Leaves task_ anywhere.
Result<void> Recorder::Impl::copy_processes(std::vector<trace::KeptProcess>& kept,
                                            std::set<uint32_t>& tracked, uint64_t most_pages) {
  Task* const running = task_;
  std::map<uint32_t, Task*> mains;
  for (const auto& [tid, task] : tasks_) {
    Task*& main = mains[task->space->number];
    if (main == nullptr || (main->call && !task->call)) main = task.get();
  }
  mains[running->space->number] = running;
  kept.clear();
  for (const auto& [number, main] : mains) {
    task_ = main;
    RCHK_TRY_ASSIGN(const bool is_tracked,
                    copy_process(main == running, kept.emplace_back(), most_pages));
    if (is_tracked) tracked.insert(number);
  }
  return {};
}

// The next page snapshot is of what changes from a beginning on, but what was touched is so since
// the last one.
void Recorder::Impl::note_beginning(const trace::KeptProcess& process,
                                    const std::set<uint32_t>& tracked) {
  const auto task = tasks_.find(process.event.tid.value);
  if (task == tasks_.end()) return;
  PageSnapshots& state = task->second->space->snapshots;
  RangeSet& touched = state.touched_before;
  touched.insert(touched.end(), process.delta.reset.begin(), process.delta.reset.end());
  for (const snapshot::PageRun& run : process.delta.pages) {
    touched.push_back(range_of(run.address, run.bytes.size()));
  }
  touched = snapshot::normalized(std::move(touched));
  state.begun = state.begun || tracked.contains(process.event.space);
  state.changes.begin_anew(memory_in_flight(*task->second->space));
}

// What changed in the memory of task_, or all of it, and what the process is besides. True if a
// tracker tells what changes from now on.
Result<bool> Recorder::Impl::copy_process(bool runs, trace::KeptProcess& kept,
                                          uint64_t& pages_left) {
  Task& main = *task_;
  PageSnapshots& state = main.space->snapshots;
  // A tracker is made by the guest itself, which has to stand still for that outside of calls, as
  // it has to for a fork to compare with.
  const bool has_one =
      state.tracker && !is_lost(state.tracked) && !snapshot::needs_reference(state.tracker->kind());
  bool tracked = !state.given_up && (runs || has_one);
  state.tracker_wanted = !tracked && !state.tracker && !state.given_up;
  if (tracked) {
    if (const Result<void> begun = begin_interval(); !begun) {
      give_up_snapshots(*main.space, main.process->pid, begun.error());
      tracked = false;
    }
  }
  const bool changes = tracked && state.begun;
  RCHK_TRY_ASSIGN(const RangeSet pages, changed_ranges(changes ? Copied::kChanges : Copied::kAll));
  const uint64_t count = snapshot::total_pages(pages);
  if (count > pages_left) {
    return fail(ErrorKind::kUnsupported, kTooMuch);
  }
  pages_left -= count;
  kept.delta = copy_changes(pages);
  if (!changes) kept.delta.reset = {kAllMemory};
  const Space& space = *main.space;
  trace::ExecEvent image;
  if (space.facts != nullptr) {
    image.executable = space.facts->executable;
    image.auxv = space.facts->auxv;
    kept.resumed.arguments = space.facts->arguments;
  }
  RCHK_TRY_ASSIGN(const trace::WaitingTask stand, describe_task(main));
  image.registers = stand.registers;
  image.extended_state = stand.extended_state;
  for (const auto& [begin, mapping] : space.memory.mappings()) image.mappings.push_back(mapping);
  image.brk = space.brk;
  image.pid = main.process->pid;
  image.stack_limit_bytes = stack_limit_bytes(main.process->pid);
  kept.event = {now_ns(), std::move(image), {main.tid}, space.number};
  kept.resumed.is_first = main.process->pid == first_pid_;
  kept.resumed.parent = parent_of(main.process->pid);
  kept.resumed.in_call = stand.in_call;
  kept.resumed.program = space.program;
  for (const auto& [tid, task] : tasks_) {
    if (task.get() == &main || task->space != main.space) continue;
    RCHK_TRY_ASSIGN(trace::WaitingTask other, describe_task(*task));
    kept.resumed.others.push_back(std::move(other));
  }
  return tracked;
}

// Makes a tracker of task_'s memory, where a beginning had none and task_ stands so that it can.
Result<void> Recorder::Impl::track_if_wanted() {
  PageSnapshots& state = task_->space->snapshots;
  if (!state.tracker_wanted || task_->call || !is_in_order(*task_)) return {};
  state.tracker_wanted = false;
  if (state.tracker || state.given_up) return {};
  const Result<void> tracking = begin_tracking();
  if (!tracking) give_up_snapshots(*task_->space, task_->process->pid, tracking.error());
  return {};
}

// REQUIRES: it stands behind its last event, or in a call that is known to block.
Result<trace::WaitingTask> Recorder::Impl::describe_task(const Task& task) const {
  trace::WaitingTask described{{task.tid}, task.stands_in_call, task.last_registers, {}};
  if (task.call) {
    described.registers = task.call->before;
    described.extended_state = states_.at(task.tid);
  } else {
    RCHK_TRY_ASSIGN(described.extended_state, task.tracee.extended_state());
  }
  return described;
}

// Memory that processes share by descent has no file by which a replay that begins in the middle
// could find that it is the same. The kernel names it (proc(5), /proc/PID/maps).
Result<void> Recorder::Impl::name_shared_objects(std::vector<trace::KeptProcess>& kept) {
  using Identity = std::pair<uint64_t, uint64_t>;  // device, inode
  struct Use {
    trace::Mapping* mapping;
    uint64_t offset_bytes;
  };
  std::map<Identity, std::vector<Use>> objects;
  for (trace::KeptProcess& process : kept) {
    auto& exec = std::get<trace::ExecEvent>(process.event.body);
    if (std::none_of(exec.mappings.begin(), exec.mappings.end(), needs_a_name)) continue;
    RCHK_TRY_ASSIGN(const auto maps, snapshot::read_proc_maps(exec.pid));
    for (trace::Mapping& mapping : exec.mappings) {
      if (!needs_a_name(mapping)) continue;
      for (const snapshot::ProcMapsEntry& entry : maps) {
        if (!entry.range.contains(mapping.range.begin) || entry.inode == 0) continue;
        const uint64_t offset = entry.offset_bytes + (mapping.range.begin - entry.range.begin);
        objects[{entry.device, entry.inode}].push_back({&mapping, offset});
      }
    }
  }
  for (const auto& [identity, uses] : objects) {
    uint64_t size_bytes = 0;
    for (const Use& use : uses) {
      size_bytes = std::max(size_bytes, use.offset_bytes + use.mapping->range.size());
    }
    RCHK_TRY_ASSIGN(const snapshot::FileId id,
                    files_.add_object(identity.first, identity.second, size_bytes));
    for (const Use& use : uses) {
      use.mapping->backing = snapshot::FileBacking{id, use.offset_bytes};
      use.mapping->name = trace::kSharedMemoryName;
    }
  }
  return {};
}

}  // namespace rchk::record
