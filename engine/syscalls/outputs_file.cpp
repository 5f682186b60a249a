// Outputs of calls on files, descriptors and memory that the table's words cannot describe.
// Sizes are those of include/uapi structures; sources are named for Linux 6.x.

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>

#include "engine/syscalls/walk.h"

namespace rchk::syscalls {
namespace {

constexpr uint64_t kBitsPerWord = 64;
constexpr uint64_t kWordBytes = 8;

uint64_t bitmap_bytes(uint64_t bits) {
  return (bits + kBitsPerWord - 1) / kBitsPerWord * kWordBytes;
}

// The largest structure that a quota command stores is struct fs_quota_statv, below this
// (include/uapi/linux/dqblk_xfs.h). Which commands store anything is in bits 8 and up.
constexpr uint64_t kMaxQuotaBytes = 256;

void quota_written(Walk& walk, size_t address_index) {
  if (walk.may_have_stored()) walk.wrote(walk.pointer(address_index), kMaxQuotaBytes);
}

// fs/fcntl.c, do_fcntl. Commands that glibc of Debian 12 does not name yet.
constexpr int kGetOwnerUids = 17;      // F_GETOWNER_UIDS
constexpr int kDupfdQuery = 1024 + 3;  // F_DUPFD_QUERY
constexpr int kCreatedQuery = 1024 + 4;
constexpr int kGetDelegation = 1024 + 15;
constexpr int kSetDelegation = 1024 + 16;

}  // namespace

void fcntl_outputs(Walk& walk) {
  const GuestAddress pointer = walk.pointer(2);
  switch (static_cast<int>(walk.argument(1))) {
    case F_GETLK:
    case F_OFD_GETLK:
      if (walk.may_have_stored()) walk.wrote(pointer, sizeof(struct flock));
      return;
    case F_GETOWN_EX:
    case kGetOwnerUids:
    case kGetDelegation:
    case F_GET_RW_HINT:
    case F_GET_FILE_RW_HINT:
      if (walk.may_have_stored()) walk.wrote(pointer, 8);
      return;
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
    case F_GETFD:
    case F_SETFD:
    case F_GETFL:
    case F_SETFL:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
    case F_SETOWN:
    case F_GETOWN:
    case F_SETSIG:
    case F_GETSIG:
    case F_SETOWN_EX:
    case F_SETLEASE:
    case F_GETLEASE:
    case F_NOTIFY:
    case F_SETPIPE_SZ:
    case F_GETPIPE_SZ:
    case F_ADD_SEALS:
    case F_GET_SEALS:
    case F_SET_RW_HINT:
    case F_SET_FILE_RW_HINT:
    case kDupfdQuery:
    case kCreatedQuery:
    case kSetDelegation:
      return;
    default:
      if (walk.succeeded()) {
        walk.doubt(fmt::format("fcntl command {}", static_cast<int>(walk.argument(1))));
      }
  }
}

// One byte for each page, stored a page of them at a time, also before an ENOMEM
// (mm/mincore.c, sys_mincore).
void mincore_outputs(Walk& walk) {
  const uint64_t pages = (walk.argument(1) + kPageSize - 1) / kPageSize;
  if (walk.may_have_stored() || walk.result() == -ENOMEM) walk.wrote(walk.pointer(2), pages);
}

void quotactl_outputs(Walk& walk) { quota_written(walk, 3); }
void quotactl_fd_outputs(Walk& walk) { quota_written(walk, 3); }

// struct file_handle: handle_bytes (in and out), type, then the handle. With EOVERFLOW only the
// head is stored (fs/fhandle.c, do_sys_name_to_handle).
void file_handle_outputs(Walk& walk) {
  constexpr uint64_t kHeadBytes = 8;
  constexpr uint32_t kMaxHandleBytes = 128;
  const auto room = walk.before<uint32_t>(walk.pointer(2));
  walk.wrote(walk.pointer(2), kHeadBytes + std::min(room.value_or(0), kMaxHandleBytes));
}

// struct xattr_args: address of the value, its size, flags (include/uapi/linux/xattr.h).
void getxattrat_outputs(Walk& walk) {
  struct XattrArguments {
    uint64_t value;
    uint32_t size;
    uint32_t flags;
  };
  const auto arguments = walk.before<XattrArguments>(walk.pointer(4));
  if (!arguments) return;
  const uint64_t bytes = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : 0;
  walk.filled({arguments->value}, bytes, arguments->size);
}

// The mask has maxnode - 1 bits (mm/mempolicy.c, copy_nodes_to_user).
void get_mempolicy_outputs(Walk& walk) {
  const uint64_t bits = walk.argument(2);
  if (bits == 0 || !walk.may_have_stored()) return;
  walk.wrote(walk.pointer(1), std::min(bitmap_bytes(bits - 1), kPageSize));
}

// An int for each page; some are stored before an error (mm/migrate.c).
void move_pages_outputs(Walk& walk) {
  walk.wrote(walk.pointer(4), std::min<uint64_t>(walk.argument(1), 1u << 28) * 4);
}

// revents is stored also when a signal ends the call; EINVAL comes before that
// (fs/select.c, do_sys_poll).
void poll_outputs(Walk& walk) {
  constexpr uint64_t kPollfdBytes = 8;
  if (walk.result() == -EINVAL) return;
  walk.wrote(walk.pointer(0), uint64_t{static_cast<uint32_t>(walk.argument(1))} * kPollfdBytes);
}

void select_outputs(Walk& walk) {
  const auto descriptors = static_cast<int32_t>(walk.argument(0));
  if (descriptors <= 0 || !walk.may_have_stored()) return;
  for (size_t set = 1; set <= 3; ++set) {
    walk.wrote(walk.pointer(set), bitmap_bytes(static_cast<uint64_t>(descriptors)));
  }
}

}  // namespace rchk::syscalls
