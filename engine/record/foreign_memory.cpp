// What a call of one process changes in the memory of others: process_vm_writev, /proc/PID/mem, and
// files that others have mapped. It becomes a MemoryEvent of each of them.

#include <algorithm>
#include <set>

#include <fcntl.h>
#include <sys/stat.h>

#include "engine/record/address_changes.h"
#include "engine/record/fuse.h"
#include "engine/record/recorder_impl.h"
#include "engine/syscalls/descriptors.h"

namespace rchk::record {

namespace {

using syscalls::Call;
namespace nr = syscalls::nr;

constexpr uint64_t kMostIovecs = 1024;  // UIO_MAXIOV

struct Iovec {
  uint64_t base = 0, bytes = 0;
};

// The first `bytes` bytes of what an array of iovecs names.
std::vector<AddressRange> ranges_of(GuestAddress iovecs, uint64_t count, uint64_t bytes,
                                    const tracee::Tracee& tracee) {
  std::vector<AddressRange> ranges;
  std::vector<Iovec> parts(std::min(count, kMostIovecs));
  const size_t wanted = parts.size() * sizeof(Iovec);
  if (tracee.read_memory(iovecs, {reinterpret_cast<uint8_t*>(parts.data()), wanted}) != wanted) {
    return ranges;
  }
  for (const Iovec& part : parts) {
    const uint64_t used = std::min(part.bytes, bytes);
    if (used > 0) ranges.push_back(range_of({part.base}, used));
    bytes -= used;
  }
  return ranges;
}

// One that calls may change.
bool maps_a_file(const snapshot::AddressSpace& space, const FileStore& files) {
  if (!space.has_shared() && !files.any_may_be_changed()) return false;
  return std::any_of(space.mappings().begin(), space.mappings().end(), [&files](const auto& item) {
    const trace::Mapping& mapping = item.second;
    return mapping.backing && (mapping.shared || files.may_be_changed(mapping.backing->file));
  });
}

}  // namespace

void Recorder::Impl::note_opened(const PendingCall& call, int64_t result) {
  if (call.answer || result < 0) return;
  const syscalls::Call& made = call.entry.call;
  note_received_descriptors(call, result);
  const uint64_t flags = syscalls::open_flags(made, GuestReader(task_->tracee)).value_or(O_RDONLY);
  if ((flags & O_ACCMODE) == O_RDONLY && made.number != nr::memfd_create) return;
  note_descriptor(static_cast<int32_t>(result));
}

// Others than the program may have opened them.
void Recorder::Impl::note_received_descriptors(const PendingCall& call, int64_t result) {
  const int32_t number = call.entry.call.number;
  if (number != nr::recvmsg && number != nr::recvmmsg && number != nr::pidfd_getfd) return;
  const GuestReader memory(task_->tracee);
  for (const auto& change : syscalls::descriptor_changes(call.entry, result, memory)) {
    const auto* const opened = std::get_if<syscalls::DescriptorOpened>(&change);
    if (opened == nullptr) continue;
    const std::string path = fmt::format("/proc/{}/fd/{}", task_->tid, opened->descriptor);
    struct stat link;
    // The link's own rights are those that the file was opened with (proc(5)).
    if (lstat(path.c_str(), &link) == 0 && (link.st_mode & S_IWUSR) != 0) {
      note_descriptor(opened->descriptor);
    }
  }
}

bool Recorder::Impl::is_out_of_reach(int32_t descriptor) const {
  return provides_files_ && is_on_fuse(task_->tid, descriptor);
}

// Whether a call has changed such a file, of which nothing is mapped.
bool Recorder::Impl::changes_out_of_reach(const Call& call, int64_t result) const {
  const auto descriptor = provides_files_ ? syscalls::changed_file(call, result) : std::nullopt;
  return descriptor && is_on_fuse(task_->tid, *descriptor);
}

// Of a file that the program may write to.
void Recorder::Impl::note_descriptor(int32_t descriptor) {
  names_opened_ |= is_name_file(task_->tid, descriptor);
  if (const Task* const task = task_of_memory_file(descriptor)) {
    memory_files_opened_ = true;
    task->space->agent_use.barred = true;
    return;
  }
  if (is_out_of_reach(descriptor)) return;
  const std::string path = fmt::format("/proc/{}/fd/{}", task_->tid, descriptor);
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return;
  if (is_fuse_device(status)) provides_files_ = true;
  if (!S_ISREG(status.st_mode)) return;
  files_.note_opened_for_writing(status.st_dev, status.st_ino);
}

void Recorder::Impl::say_what_stores_show(const std::vector<trace::AddressSpaceChange>& changes) {
  const auto look_at = [this](const trace::Mapping& mapping) {
    if (!mapping.backing) return;
    if (!mapping.shared) files_.note_private_view(mapping.backing->file);
    // Few files are both.
    if (!files_.may_be_stored_to(mapping.backing->file)) return;
    if (!files_.may_be_viewed_privately(mapping.backing->file)) return;
    bool stored_to = false, shown = false;
    std::set<const Space*> seen;
    for (const auto& [tid, task] : tasks_) {
      if (!seen.insert(task->space.get()).second) continue;
      for (const auto& [begin, other] : task->space->memory.mappings()) {
        if (!other.backing) continue;
        if (!files_.are_of_one_file(other.backing->file, mapping.backing->file)) continue;
        stored_to |= other.shared && other.writable();
        shown |= !other.shared;
      }
    }
    if (!stored_to || !shown) return;
    say_once(
        fmt::format("{} is mapped both shared, to be stored to, and privately. What is stored from "
                    "now on shows in the private mapping, but not in a replay, which may differ.",
                    mapping.name));
  };
  for (const trace::AddressSpaceChange& change : changes) {
    if (const auto* map = std::get_if<trace::MapChange>(&change)) {
      look_at(map->mapping);
    } else if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
      for (const trace::Mapping& mapping : task_->space->memory.overlapping(protect->range)) {
        if (mapping.shared && mapping.writable()) look_at(mapping);
      }
    }
  }
}

void Recorder::Impl::say_what_outsiders_changed() {
  std::set<snapshot::FileId> seen;
  for (const auto& [begin, mapping] : task_->space->memory.mappings()) {
    if (!mapping.backing || !seen.insert(mapping.backing->file).second) continue;
    if (files_.may_be_changed(mapping.backing->file)) continue;
    const FileStore::Version& version = files_.version(mapping.backing->file);
    struct stat now;
    const std::string path = fmt::format("/proc/{}/root{}", task_->tid, mapping.name);
    const bool same_file = stat(path.c_str(), &now) == 0 && now.st_dev == version.device &&
                           now.st_ino == version.inode;
    if (!same_file || modified_ns(now) == version.mtime_ns) continue;
    say_once(
        fmt::format("{} is mapped, and another program has changed it since. That is not recorded: "
                    "a replay may differ.",
                    mapping.name));
  }
}

std::vector<Recorder::Impl::ForeignStore> Recorder::Impl::foreign_stores(const PendingCall& call,
                                                                         int64_t result) {
  std::vector<ForeignStore> stores;
  const Call& made = call.entry.call;
  if (call.answer || result <= 0) return stores;
  const auto bytes = static_cast<uint64_t>(result);
  if (made.number == nr::process_vm_writev) {
    const Task* const task = task_named(made.arguments[0]);
    if (task == nullptr) return stores;
    for (const AddressRange& range :
         ranges_of({made.arguments[3]}, made.arguments[4], bytes, task_->tracee)) {
      stores.push_back({task->space.get(), range});
    }
    return stores;
  }
  const auto descriptor =
      memory_files_opened_ ? syscalls::changed_file(made, result) : std::nullopt;
  if (!descriptor) return stores;
  const Task* const task = task_of_memory_file(*descriptor);
  if (task == nullptr) return stores;
  if (const auto offset = offset_written(made, result, task_->tid)) {
    stores.push_back({task->space.get(), range_of({*offset}, bytes)});
  } else {
    say_once(fmt::format("What {} writes to the memory of process {} is not recorded.",
                         syscalls::name(made.number), task->process->pid));
  }
  return stores;
}

Task* Recorder::Impl::task_at_rest_in(const Space& space) {
  Task* found = nullptr;
  for (const auto& [tid, task] : tasks_) {
    if (task->space.get() != &space || !task->announced || task->exit_recorded) continue;
    if (found == nullptr || tid == task->process->pid) found = task.get();
  }
  return found;
}

Result<void> Recorder::Impl::add_memory_event(Space& space, trace::MemoryEvent event) {
  if (Task* const task = task_at_rest_in(space)) return append_of(*task, std::move(event));
  return {};  // a fork of which nothing is in the log yet: its memory is taken from its parent's
}

Result<void> Recorder::Impl::add_foreign_changes(const PendingCall& call, int64_t result) {
  if (call.answer) return {};
  std::map<Space*, trace::MemoryEvent> events;
  for (const ForeignStore& store : foreign_stores(call, result)) {
    if (store.space == task_->space.get()) continue;
    const Task* const task = task_at_rest_in(*store.space);
    if (task == nullptr) continue;
    trace::MemoryWrite write{store.range.begin, Bytes(store.range.size())};
    write.bytes.resize(task->tracee.read_memory(write.address, write.bytes));
    if (!write.bytes.empty()) events[store.space].writes.push_back(std::move(write));
  }
  std::set<Space*> seen{task_->space.get()};
  const auto is_of_other = [this](const auto& item) { return item.second->space != task_->space; };
  const bool reachable = !changes_out_of_reach(call.entry.call, result);
  const std::vector<FileHole> holes = holes_made(call.entry.call, result, task_->space->memory);
  const bool changes_file =
      reachable && std::any_of(tasks_.begin(), tasks_.end(), is_of_other) &&
      (!holes.empty() || changes_stored_file(call.entry.call, result, task_->tid, files_));
  for (auto item = tasks_.begin(); changes_file && item != tasks_.end(); ++item) {
    Space& space = *item->second->space;
    if (!seen.insert(&space).second || !maps_a_file(space.memory, files_)) continue;
    const Task* const task = task_at_rest_in(space);
    if (task == nullptr) continue;
    AddressChanges changes;
    RCHK_TRY(add_file_changes(call.entry.call, result, task_->tid, task->tracee, files_,
                              space.memory, changes));
    RCHK_TRY(add_holes(holes, task->tracee, files_, space.memory, changes));
    if (changes.changes.empty() && changes.writes.empty()) continue;
    trace::MemoryEvent& event = events[&space];
    event.changes = std::move(changes.changes);
    std::move(changes.writes.begin(), changes.writes.end(), std::back_inserter(event.writes));
  }
  for (auto& [space, event] : events) RCHK_TRY(add_memory_event(*space, std::move(event)));
  return {};
}

Result<void> Recorder::Impl::add_fork_differences(Task& child) {
  const auto changes = changes_by_fork(child.tracee, files_, child.space->memory,
                                       [this](std::string_view text) { say(text); });
  if (!changes && state_in_kernel(child.tid) != 't') return {};  // it has been killed
  if (!changes) return Failure(changes.error());
  if (changes->changes.empty()) return {};
  return append_of(child, trace::MemoryEvent{changes->changes, changes->writes});
}

}  // namespace rchk::record
