#include "engine/syscalls/descriptors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>

namespace rchk::syscalls {
namespace {

constexpr uint64_t kIovecBytes = 16;
constexpr uint64_t kMaxIovecs = 1024;
constexpr uint32_t kCloseRangeUnshare = 2, kCloseRangeCloexec = 4;  // linux/close_range.h
constexpr uint64_t kMaxControlBytes = 1u << 16;
constexpr uint32_t kFioclex = 0x5451;
constexpr uint32_t kFionclex = 0x5450;

template <typename T>
std::optional<T> value_at(const MemoryReader& memory, GuestAddress address) {
  T value;
  if (memory.read(address, {reinterpret_cast<uint8_t*>(&value), sizeof(T)}) != sizeof(T)) {
    return std::nullopt;
  }
  return value;
}

// Which argument of a call that returns a descriptor holds its close-on-exec flag.
struct CloexecFlag {
  int32_t number;
  uint8_t argument;
  uint32_t flag;
};
constexpr uint32_t kAlwaysCloexec = 0;
constexpr CloexecFlag kCloexecFlags[] = {
    {nr::open, 1, O_CLOEXEC},
    {nr::openat, 2, O_CLOEXEC},
    {nr::open_by_handle_at, 2, O_CLOEXEC},
    {nr::open_tree, 2, O_CLOEXEC},
    {nr::open_tree_attr, 2, O_CLOEXEC},
    {nr::socket, 1, SOCK_CLOEXEC},
    {nr::accept4, 3, SOCK_CLOEXEC},
    {nr::eventfd2, 1, O_CLOEXEC},
    {nr::signalfd4, 3, O_CLOEXEC},
    {nr::epoll_create1, 0, O_CLOEXEC},
    {nr::inotify_init1, 0, O_CLOEXEC},
    {nr::timerfd_create, 1, O_CLOEXEC},
    {nr::memfd_create, 1, 1},  // MFD_CLOEXEC
    {nr::fsopen, 1, 1},        // FSOPEN_CLOEXEC
    {nr::fsmount, 1, 1},       // FSMOUNT_CLOEXEC
    {nr::fspick, 2, 1},        // FSPICK_CLOEXEC
    {nr::mq_open, 0, kAlwaysCloexec},
    {nr::pidfd_open, 0, kAlwaysCloexec},
    {nr::pidfd_getfd, 0, kAlwaysCloexec},
    {nr::landlock_create_ruleset, 0, kAlwaysCloexec},
};

bool opened_close_on_exec(const Call& call, const MemoryReader& memory) {
  if (call.number == nr::openat2) {  // struct open_how: flags first
    const auto flags = value_at<uint64_t>(memory, {call.arguments[2]});
    return flags && (*flags & O_CLOEXEC) != 0;
  }
  for (const CloexecFlag& rule : kCloexecFlags) {
    if (rule.number != call.number) continue;
    return rule.flag == kAlwaysCloexec || (call.arguments[rule.argument] & rule.flag) != 0;
  }
  return false;
}

void pair_opened(const MemoryReader& memory, GuestAddress pair, bool close_on_exec,
                 std::vector<DescriptorChange>& changes) {
  const auto ends = value_at<std::array<int32_t, 2>>(memory, pair);
  if (!ends) return;
  for (const int32_t end : *ends) changes.push_back(DescriptorOpened{end, close_on_exec});
}

// Descriptors in ancillary data (SCM_RIGHTS; cmsg(3)): headers of length, level and type, each
// followed by its data and aligned to 8 bytes.
void received(const MemoryReader& memory, GuestAddress message, bool close_on_exec,
              std::vector<DescriptorChange>& changes) {
  const auto header = value_at<msghdr>(memory, message);
  if (!header || header->msg_control == nullptr) return;
  std::vector<uint8_t> control(std::min<uint64_t>(header->msg_controllen, kMaxControlBytes));
  control.resize(memory.read({reinterpret_cast<uint64_t>(header->msg_control)}, control));
  size_t offset = 0;
  while (control.size() - offset >= sizeof(cmsghdr)) {
    cmsghdr part;
    std::memcpy(&part, &control[offset], sizeof(part));
    if (part.cmsg_len < sizeof(part) || part.cmsg_len > control.size() - offset) return;
    if (part.cmsg_level == SOL_SOCKET && part.cmsg_type == SCM_RIGHTS) {
      for (size_t at = sizeof(part); at + sizeof(int32_t) <= part.cmsg_len; at += sizeof(int32_t)) {
        int32_t descriptor;
        std::memcpy(&descriptor, &control[offset + at], sizeof(descriptor));
        changes.push_back(DescriptorOpened{descriptor, close_on_exec});
      }
    }
    offset += std::min<size_t>((part.cmsg_len + 7) & ~size_t{7}, control.size() - offset);
  }
}

void fcntl_changes(const Call& call, int32_t result, std::vector<DescriptorChange>& changes) {
  const auto descriptor = static_cast<uint32_t>(call.arguments[0]);
  switch (static_cast<int>(call.arguments[1])) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC: {
      const bool close_on_exec = static_cast<int>(call.arguments[1]) == F_DUPFD_CLOEXEC;
      changes.push_back(DescriptorDuplicated{call.descriptor(0), result, close_on_exec});
      return;
    }
    case F_SETFD: {
      const bool close_on_exec = (call.arguments[2] & FD_CLOEXEC) != 0;
      changes.push_back(CloseOnExecChanged{descriptor, descriptor, close_on_exec});
      return;
    }
    default:
      return;
  }
}

void ioctl_changes(const Call& call, int32_t result, std::vector<DescriptorChange>& changes) {
  const auto request = static_cast<uint32_t>(call.arguments[1]);
  const auto descriptor = static_cast<uint32_t>(call.arguments[0]);
  switch (request) {
    case kFioclex:
    case kFionclex:
      changes.push_back(CloseOnExecChanged{descriptor, descriptor, request == kFioclex});
      return;
    case 0x5441: {  // TIOCGPTPEER, whose third argument is open's flags
      const bool close_on_exec = (call.arguments[2] & O_CLOEXEC) != 0;
      changes.push_back(DescriptorOpened{result, close_on_exec});
      return;
    }
    case 0x89a0:  // SIOCUNIXFILE
    case 0xb701:  // NS_GET_USERNS
    case 0xb702:  // NS_GET_PARENT
      changes.push_back(DescriptorOpened{result, true});
      return;
    default:
      return;
  }
}

void range_closed(const Call& call, std::vector<DescriptorChange>& changes) {
  const auto first = static_cast<uint32_t>(call.arguments[0]);
  const auto last = static_cast<uint32_t>(call.arguments[1]);
  if ((call.arguments[2] & kCloseRangeCloexec) != 0) {
    changes.push_back(CloseOnExecChanged{first, last, true});
  } else {
    changes.push_back(DescriptorsClosed{first, last});
  }
}

void add_iovecs(const MemoryReader& memory, GuestAddress iovecs, uint64_t count, uint64_t bytes,
                std::vector<AddressRange>& ranges) {
  for (uint64_t i = 0; i < std::min(count, kMaxIovecs) && bytes > 0; ++i) {
    const auto iovec = value_at<std::array<uint64_t, 2>>(memory, iovecs + i * kIovecBytes);
    if (!iovec) return;
    const uint64_t piece = std::min((*iovec)[1], bytes);
    if (piece > 0) ranges.push_back(range_of({(*iovec)[0]}, piece));
    bytes -= piece;
  }
}

void add_message(const MemoryReader& memory, GuestAddress message, uint64_t bytes,
                 std::vector<AddressRange>& ranges) {
  const auto header = value_at<msghdr>(memory, message);
  if (!header) return;
  add_iovecs(memory, {reinterpret_cast<uint64_t>(header->msg_iov)}, header->msg_iovlen, bytes,
             ranges);
}

void add_messages(const Call& call, uint64_t count, const MemoryReader& memory, DataWritten& out) {
  out.bytes = 0;
  for (uint64_t i = 0; i < std::min(count, kMaxIovecs); ++i) {
    const GuestAddress message{call.arguments[1] + i * sizeof(mmsghdr)};
    const auto bytes = value_at<uint32_t>(memory, message + sizeof(msghdr));
    if (!bytes) return;
    out.bytes += *bytes;
    add_message(memory, message, *bytes, out.ranges);
  }
}

// May cut a file off when it opens it.
bool truncates(const Call& call) {
  switch (call.number) {
    case nr::open:
      return (call.arguments[1] & O_TRUNC) != 0;
    case nr::openat:
      return (call.arguments[2] & O_TRUNC) != 0;
    case nr::creat:
    case nr::openat2:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::vector<DescriptorChange> descriptor_changes(const EntryState& entry, int64_t result,
                                                 const MemoryReader& memory) {
  const Call& call = entry.call;
  std::vector<DescriptorChange> changes;
  const Syscall* row = find(call.number);
  if (row == nullptr || row->call_class == Class::kRefused) return changes;
  if (call.number == nr::close) {
    // Linux closes the descriptor whatever close returns, but for one that is not open.
    const auto descriptor = static_cast<uint32_t>(call.arguments[0]);
    if (result != -EBADF) changes.push_back(DescriptorsClosed{descriptor, descriptor});
    return changes;
  }
  if (is_error(result)) return changes;
  const auto descriptor = static_cast<int32_t>(result);
  switch (call.number) {
    case nr::dup:
    case nr::dup2:
    case nr::dup3:
      // dup2 of a descriptor onto itself changes nothing.
      if (descriptor != call.descriptor(0)) {
        const bool close_on_exec = call.number == nr::dup3 && (call.arguments[2] & O_CLOEXEC) != 0;
        changes.push_back(DescriptorDuplicated{call.descriptor(0), descriptor, close_on_exec});
      }
      break;
    case nr::fcntl:
      fcntl_changes(call, descriptor, changes);
      break;
    case nr::ioctl:
      ioctl_changes(call, descriptor, changes);
      break;
    case nr::close_range:
      range_closed(call, changes);
      break;
    case nr::pipe:
      pair_opened(memory, {call.arguments[0]}, false, changes);
      break;
    case nr::pipe2:
      pair_opened(memory, {call.arguments[0]}, (call.arguments[1] & O_CLOEXEC) != 0, changes);
      break;
    case nr::socketpair:
      pair_opened(memory, {call.arguments[3]}, (call.arguments[1] & SOCK_CLOEXEC) != 0, changes);
      break;
    case nr::recvmsg:
      received(memory, {call.arguments[1]}, (call.arguments[2] & MSG_CMSG_CLOEXEC) != 0, changes);
      break;
    case nr::recvmmsg:
      for (int64_t i = 0; i < std::min<int64_t>(result, kMaxIovecs); ++i) {
        const GuestAddress message{call.arguments[1] + static_cast<uint64_t>(i) * sizeof(mmsghdr)};
        received(memory, message, (call.arguments[3] & MSG_CMSG_CLOEXEC) != 0, changes);
      }
      break;
    case nr::signalfd:
    case nr::signalfd4:
      // With a descriptor, that one is changed and returned.
      if (call.descriptor(0) >= 0) break;
      [[fallthrough]];
    default:
      if (row->returns == Returns::kDescriptor) {
        changes.push_back(DescriptorOpened{descriptor, opened_close_on_exec(call, memory)});
      }
  }
  return changes;
}

std::optional<DataWritten> data_written(const Call& call, int64_t result,
                                        const MemoryReader& memory) {
  const Syscall* row = find(call.number);
  if (row == nullptr || is_error(result) || result == 0) return std::nullopt;
  DataWritten out{call.descriptor(0), static_cast<uint64_t>(result), {}, -1};
  switch (call.number) {
    case nr::sendmsg:
      add_message(memory, {call.arguments[1]}, out.bytes, out.ranges);
      return out;
    case nr::sendmmsg:
      add_messages(call, out.bytes, memory, out);
      return out;
    case nr::vmsplice:
      add_iovecs(memory, {call.arguments[1]}, call.arguments[2], out.bytes, out.ranges);
      return out;
    case nr::sendfile:
      out.source = call.descriptor(1);
      return out;
    case nr::tee:
      out.source = call.descriptor(0);
      out.descriptor = call.descriptor(1);
      return out;
    case nr::splice:
    case nr::copy_file_range:
      out.source = call.descriptor(0);
      out.descriptor = call.descriptor(2);
      return out;
    default:
      break;
  }
  for (size_t i = 0; i < kMaxArguments; ++i) {
    const Argument& argument = row->arguments[i];
    const GuestAddress pointer{call.arguments[i]};
    if (argument.kind == ArgumentKind::kData) {
      out.ranges.push_back(range_of(pointer, out.bytes));
      return out;
    }
    if (argument.kind == ArgumentKind::kDataVector) {
      add_iovecs(memory, pointer, call.arguments[argument.other], out.bytes, out.ranges);
      return out;
    }
  }
  return std::nullopt;
}

std::optional<GuestAddress> changed_path(const Call& call, int64_t result) {
  if (is_error(result) || call.number != nr::truncate) return std::nullopt;
  return GuestAddress{call.arguments[0]};
}

bool unshares_descriptors(const Call& call) {
  if (call.number == nr::unshare) return (call.arguments[0] & CLONE_FILES) != 0;
  return call.number == nr::close_range && (call.arguments[2] & kCloseRangeUnshare) != 0;
}

bool only_resizes(const Call& call) {
  return call.number == nr::ftruncate || call.number == nr::truncate || truncates(call);
}

std::optional<int32_t> changed_file(const Call& call, int64_t result) {
  if (is_error(result)) return std::nullopt;
  switch (call.number) {
    case nr::write:
    case nr::pwrite64:
    case nr::writev:
    case nr::pwritev:
    case nr::pwritev2:
    case nr::ftruncate:
    case nr::fallocate:
    case nr::sendfile:
      return call.descriptor(0);
    case nr::splice:
    case nr::copy_file_range:
      return call.descriptor(2);
    case nr::open:
    case nr::openat:
    case nr::creat:
    case nr::openat2:
      return truncates(call) ? std::optional(static_cast<int32_t>(result)) : std::nullopt;
    case nr::ioctl: {
      const auto request = static_cast<uint32_t>(call.arguments[1]);
      const bool clones = request == 0x40049409 || request == 0x4020940d;  // FICLONE, FICLONERANGE
      return clones ? std::optional(call.descriptor(0)) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace rchk::syscalls
