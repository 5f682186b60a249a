// The descriptors whose calls an agent makes (agent.h).

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <sstream>

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine/record/limits.h"
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

uint64_t kernel_device(dev_t device) {
  constexpr int kMinorBits = 20;
  return uint64_t{major(device)} << kMinorBits | minor(device);
}

// Devices of files that no file system shows: sockets, pipes without a name, and eventfd, timerfd
// and the like.
struct InternalDevices {
  uint64_t sockets = 0, pipes = 0, others = 0;

  InternalDevices() {
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    const FileDescriptor pipe(ends[0]), other_end(ends[1]);
    const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const FileDescriptor event(eventfd(0, EFD_CLOEXEC));
    sockets = device_of(socket);
    pipes = device_of(pipe);
    others = device_of(event);
  }
  static uint64_t device_of(const FileDescriptor& file) {
    struct stat status {};
    return fstat(file.get(), &status) == 0 ? kernel_device(status.st_dev) : 0;
  }
};

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
  const auto served = descriptor_for_agent(descriptor);
  if (!served) return {};
  agent_serves_epolls_ |= served->kind == Agent::Descriptor::Kind::kEpoll;
  agent.descriptors[descriptor] = *served;
  return add_agent_event({{}, {descriptor_byte(agent, descriptor)}});
}

// What a descriptor of task_ refers to, if calls of it do nothing but read and write, and never
// wait: a file that is mapped nowhere and that no replay repeats, or a socket of those that do not
// block, whose other end is outside; or an epoll.
std::optional<Agent::Descriptor> Recorder::Impl::descriptor_for_agent(int descriptor) const {
  const bool is_restricted = task_->sandbox.mode() != syscalls::Sandbox::Mode::kNone;
  const bool is_alone = !files_shared_ && !task_->space->agent_use.tables_differ;
  if (is_restricted || !is_alone || !can_have_agent()) return std::nullopt;
  if (is_out_of_reach(descriptor)) return std::nullopt;
  if (task_->streams->stream_of(descriptor) != trace::OutputStream::kNone) return std::nullopt;
  const std::string path = fmt::format("/proc/{}/fd/{}", task_->tid, descriptor);
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  Agent::Descriptor found{status.st_dev, status.st_ino};
  if (S_ISSOCK(status.st_mode)) {
    found.kind = Agent::Descriptor::Kind::kSocket;
    if (!is_served_socket(descriptor)) return std::nullopt;
  } else if (is_epoll(descriptor)) {
    found.kind = Agent::Descriptor::Kind::kEpoll;
    if (!is_served_epoll(descriptor)) return std::nullopt;
  } else if (!S_ISREG(status.st_mode) || !is_served_file(path, found)) {
    return std::nullopt;
  }
  return found;
}

bool Recorder::Impl::is_served_file(const std::string& path, const Agent::Descriptor& file) const {
  // A write behind the end of what is allowed raises a signal, which the guest is to get right
  // there.
  const auto limit = soft_limit(task_->tid, RLIMIT_FSIZE);
  if (limit != std::optional<uint64_t>(RLIM_INFINITY)) return false;
  struct statfs system {};
  if (statfs(path.c_str(), &system) != 0 || !is_plain_file_system(system)) return false;
  std::set<const Space*> seen;
  for (const auto& [tid, task] : tasks_) {
    if (!seen.insert(task->space.get()).second) continue;
    for (const auto& [begin, mapping] : task->space->memory.mappings()) {
      if (!mapping.backing) continue;
      const FileStore::Version& version = files_.version(mapping.backing->file);
      if (version.device == file.device && version.inode == file.inode) return false;
    }
  }
  return true;
}

// Whether its calls never wait. Nor may a thread wait for what another one writes: who has the
// processor keeps it until its slice is over, for nobody hears of the write.
bool Recorder::Impl::is_served_socket(int descriptor) const {
  const FileDescriptor process(static_cast<int>(syscall(SYS_pidfd_open, task_->process->pid, 0)));
  if (!process.is_open()) return false;
  const FileDescriptor socket(
      static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), descriptor, 0)));
  if (!socket.is_open()) return false;
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) == 0) return false;
  int domain = 0;
  socklen_t length = sizeof(domain);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  if (domain == AF_INET || domain == AF_INET6) return true;
  if (domain != AF_UNIX) return false;
  struct ucred peer {};
  length = sizeof(peer);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return std::none_of(tasks_.begin(), tasks_.end(),
                      [&peer](const auto& item) { return item.second->process->pid == peer.pid; });
}

bool Recorder::Impl::is_epoll(int descriptor) const {
  return read_proc_link(task_->tid, fmt::format("fd/{}", descriptor)) == "anon_inode:[eventpoll]";
}

// Whether all files in it say at once what events there are: those do that have no file system of
// their own. What others say may have to come from a program (FUSE), that of a terminal from who
// has its line; and what is in an epoll that is in it nobody looks at.
bool Recorder::Impl::is_served_epoll(int descriptor) const {
  const auto contents = read_proc_file(task_->tid, fmt::format("fdinfo/{}", descriptor));
  if (!contents) return false;
  std::istringstream lines(std::string(contents->begin(), contents->end()));
  for (std::string line; std::getline(lines, line);) {
    // proc(5); fs/eventpoll.c, ep_show_fdinfo
    int target = 0;
    if (std::sscanf(line.c_str(), "tfd: %d", &target) != 1) continue;
    uint64_t device = 0;
    const size_t at = line.rfind("sdev:");
    if (at == std::string::npos) return false;
    if (std::sscanf(line.c_str() + at, "sdev:%" SCNx64, &device) != 1) return false;
    if (!answers_at_once(device, target)) return false;
  }
  return true;
}

// `device`: as the kernel has it (linux/kdev_t.h).
bool Recorder::Impl::answers_at_once(uint64_t device, int target) const {
  static const InternalDevices known;
  if (device == known.sockets || device == known.pipes) return true;
  return device == known.others && !is_epoll(target);
}

// A file is in an epoll now.
Result<void> Recorder::Impl::consider_epoll_target(const syscalls::Call& made) {
  if (!agent_serves_epolls_ || static_cast<int32_t>(made.arguments[1]) != EPOLL_CTL_ADD) return {};
  const auto target = static_cast<int32_t>(made.arguments[2]);
  struct stat status {};
  const std::string path = fmt::format("/proc/{}/fd/{}", task_->tid, target);
  const bool known = stat(path.c_str(), &status) == 0;
  if (known && answers_at_once(kernel_device(status.st_dev), target)) return {};
  return end_agent_descriptors_if(
      [](const Agent::Descriptor& other) { return other.kind == Agent::Descriptor::Kind::kEpoll; });
}

// What a call has done to descriptors, and what it has mapped, is nothing for the agent any more.
Result<void> Recorder::Impl::end_agent_descriptors(const PendingCall& call,
                                                   const std::vector<snapshot::FileId>& mapped) {
  Space& space = *task_->space;
  const syscalls::Call& made = call.entry.call;
  std::vector<int> ended;
  if (syscalls::unshares_descriptors(made)) {
    space.agent_use.tables_differ = true;
    return end_agent_file(std::nullopt);
  }
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
    case SYS_fcntl:
      if (made.arguments[1] != F_SETFL || (made.arguments[2] & O_NONBLOCK) != 0) return {};
      return end_agent_sockets();
    case SYS_ioctl:
      return made.arguments[1] == FIONBIO ? end_agent_sockets() : Result<void>();
    case SYS_clone:
    case SYS_clone3:
      if (space.agent_use.tables_differ) return end_agent_file(std::nullopt);
      break;
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
  return end_agent_descriptors_if([&file](const Agent::Descriptor& known) {
    return !file || (known.device == file->first && known.inode == file->second);
  });
}

// In all memories, for who shares a socket shares whether it blocks.
Result<void> Recorder::Impl::end_agent_sockets() {
  return end_agent_descriptors_if([](const Agent::Descriptor& known) {
    return known.kind == Agent::Descriptor::Kind::kSocket;
  });
}

Result<void> Recorder::Impl::end_agent_descriptors_if(
    const std::function<bool(const Agent::Descriptor&)>& is_ended) {
  std::set<Space*> seen;
  for (const auto& [tid, task] : tasks_) {
    Space& space = *task->space;
    if (!space.agent || space.agent->descriptors.empty() || !seen.insert(&space).second) continue;
    trace::MemoryEvent event;
    std::vector<int> ended;
    for (const auto& [descriptor, known] : space.agent->descriptors) {
      if (is_ended(known)) ended.push_back(descriptor);
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
