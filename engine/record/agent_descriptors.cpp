// The descriptors whose calls an agent makes (agent.h).

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "engine/record/recorder_impl.h"

namespace rchk::record {

namespace {

// So many a descriptor has to have: many are closed before.
constexpr uint32_t kCallsOfDescriptor = 8;

// Where reading and writing at an offset has no other end, and neither waits for others.
bool is_plain_file_system(const struct statfs& system) {
  switch (static_cast<unsigned long>(system.f_type)) {
    case EXT4_SUPER_MAGIC:  // and ext2, ext3
    case TMPFS_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::vector<snapshot::FileId> files_mapped_by(const trace::SyscallEvent& event) {
  std::vector<snapshot::FileId> files;
  for (const trace::AddressSpaceChange& change : event.changes) {
    const auto* map = std::get_if<trace::MapChange>(&change);
    if (map != nullptr && map->mapping.backing) files.push_back(map->mapping.backing->file);
  }
  return files;
}

// Lets the agent make the calls of a descriptor, once there have been some.
Result<void> Recorder::Impl::consider_descriptor(int descriptor) {
  Space& space = *task_->space;
  Agent& agent = *space.agent;
  const bool can_be = descriptor >= 0 && descriptor < Agent::most_descriptors();
  if (!can_be || agent.descriptors.contains(descriptor)) return {};
  if (++space.agent_use.of_descriptor[descriptor] != kCallsOfDescriptor) return {};
  const auto file = file_for_agent(descriptor);
  if (!file) return {};
  agent.descriptors[descriptor] = *file;
  return add_agent_event({{}, {descriptor_byte(agent, descriptor)}});
}

// The device and inode of what a descriptor of task_ refers to, if calls of it do nothing but read
// and write a file: none that is mapped anywhere, that a replay repeats, or of which the kernel or
// another program is the other end.
std::optional<std::pair<uint64_t, uint64_t>> Recorder::Impl::file_for_agent(int descriptor) const {
  const bool is_restricted = task_->sandbox.mode() != syscalls::Sandbox::Mode::kNone;
  if (is_restricted || !can_have_agent() || files_shared_) return std::nullopt;
  // A write behind the end of what is allowed raises a signal, which the guest is to get right
  // there.
  struct rlimit limit {};
  const bool is_limited =
      prlimit(task_->tid, RLIMIT_FSIZE, nullptr, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
  if (is_limited) return std::nullopt;
  if (task_->streams->stream_of(descriptor) != trace::OutputStream::kNone) return std::nullopt;
  const std::string path = fmt::format("/proc/{}/fd/{}", task_->tid, descriptor);
  struct stat status {};
  struct statfs system {};
  if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  if (statfs(path.c_str(), &system) != 0 || !is_plain_file_system(system)) return std::nullopt;
  const std::pair<uint64_t, uint64_t> file{status.st_dev, status.st_ino};
  std::set<const Space*> seen;
  for (const auto& [tid, task] : tasks_) {
    if (!seen.insert(task->space.get()).second) continue;
    for (const auto& [begin, mapping] : task->space->memory.mappings()) {
      if (!mapping.backing) continue;
      const FileStore::Version& version = files_.version(mapping.backing->file);
      if (std::pair(version.device, version.inode) == file) return std::nullopt;
    }
  }
  return file;
}

// What a call has done to descriptors, and what it has mapped, is nothing for the agent any more.
Result<void> Recorder::Impl::end_agent_descriptors(const PendingCall& call,
                                                   const std::vector<snapshot::FileId>& mapped) {
  Space& space = *task_->space;
  const syscalls::Call& made = call.entry.call;
  std::vector<int> ended;
  switch (made.number) {
    case SYS_close:
      ended.push_back(static_cast<int32_t>(made.arguments[0]));
      break;
    case SYS_dup2:
    case SYS_dup3:
      ended.push_back(static_cast<int32_t>(made.arguments[1]));
      break;
    case SYS_setrlimit:
      return made.arguments[0] == RLIMIT_FSIZE ? end_agent_file(std::nullopt) : Result<void>();
    case SYS_prlimit64: {
      const bool limits = made.arguments[1] == RLIMIT_FSIZE && made.arguments[2] != 0;
      return limits ? end_agent_file(std::nullopt) : Result<void>();
    }
    case SYS_seccomp:
    case SYS_prctl:
      if (task_->sandbox.mode() == syscalls::Sandbox::Mode::kNone) return {};
      return end_agent_file(std::nullopt);
    case SYS_close_range:
      for (const auto& [descriptor, calls] : space.agent_use.of_descriptor) {
        ended.push_back(descriptor);
      }
      break;
    default:
      break;
  }
  for (const int descriptor : ended) {
    space.agent_use.of_descriptor.erase(descriptor);
    if (!space.agent || space.agent->descriptors.erase(descriptor) == 0) continue;
    RCHK_TRY(add_agent_event({{}, {descriptor_byte(*space.agent, descriptor)}}));
  }
  if (files_shared_) return end_agent_file(std::nullopt);
  return end_agent_files(mapped);
}

Result<void> Recorder::Impl::end_agent_files(const std::vector<snapshot::FileId>& mapped) {
  for (const snapshot::FileId id : mapped) {
    const FileStore::Version& version = files_.version(id);
    RCHK_TRY(end_agent_file(std::pair(version.device, version.inode)));
  }
  return {};
}

// In all memories: the file is mapped now. None: whatever file it is, its descriptors are of others
// as well.
Result<void> Recorder::Impl::end_agent_file(std::optional<std::pair<uint64_t, uint64_t>> file) {
  std::set<Space*> seen;
  for (const auto& [tid, task] : tasks_) {
    Space& space = *task->space;
    if (!space.agent || space.agent->descriptors.empty() || !seen.insert(&space).second) continue;
    trace::MemoryEvent event;
    std::vector<int> ended;
    for (const auto& [descriptor, known] : space.agent->descriptors) {
      if (!file || known == *file) ended.push_back(descriptor);
    }
    bool gone = false;
    for (const int descriptor : ended) {
      space.agent->descriptors.erase(descriptor);
      space.agent_use.of_descriptor.erase(descriptor);
      event.writes.push_back(descriptor_byte(*space.agent, descriptor));
      const trace::MemoryWrite& write = event.writes.back();
      gone |= !task->tracee.write_memory(write.address, write.bytes);  // a process that is dying
    }
    if (!gone && !event.writes.empty()) RCHK_TRY(add_memory_event(space, std::move(event)));
  }
  return {};
}

}  // namespace rchk::record
