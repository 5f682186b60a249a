#include "engine/syscalls/ioctl.h"

#include <algorithm>
#include <cerrno>

#include <asm/ioctl.h>
#include <fmt/format.h>

#include "engine/syscalls/walk.h"

namespace rchk::syscalls {
namespace {

constexpr Ioctl kIoctls[] = {
#define RCHK_IOCTL(request, name, bytes) {request, #name, bytes},
#include "engine/syscalls/ioctls.def"
#undef RCHK_IOCTL
};

// Requests with outputs of a shape of their own.
constexpr uint32_t kGetInterfaces = 0x8912;    // SIOCGIFCONF
constexpr uint32_t kEthtool = 0x8946;          // SIOCETHTOOL
constexpr uint32_t kFiemap = 0xc020660b;       // FS_IOC_FIEMAP
constexpr uint32_t kDedupeRange = 0xc0189436;  // FIDEDUPERANGE
constexpr uint32_t kPagemapScan = 0xc0606610;  // PAGEMAP_SCAN
constexpr uint32_t kLinuxConsole = 0x541c;     // TIOCLINUX
constexpr uint32_t kMaxExtents = 1u << 20;

// Types of which every request stores as many bytes as its number says, and nothing elsewhere:
// pidfds, namespaces and input devices (fs/pidfs.c, fs/nsfs.c, drivers/input/evdev.c).
bool stores_by_number(uint32_t request) {
  const uint32_t type = _IOC_TYPE(request);
  return _IOC_DIR(request) != _IOC_NONE && (type == 0xff || type == 0xb7 || type == 'E');
}

// struct ifconf: an int, the bytes of the buffer in and out, and the buffer's address
// (net/core/dev_ioctl.c, dev_ifconf).
void interfaces_written(Walk& walk, GuestAddress argument) {
  struct Ifconf {
    int32_t bytes;
    int32_t padding;
    uint64_t buffer;
  };
  const auto request = walk.before<Ifconf>(argument);
  if (!request || !walk.may_have_stored()) return;
  walk.wrote(argument, sizeof(Ifconf));
  if (request->bytes > 0) walk.wrote({request->buffer}, static_cast<uint64_t>(request->bytes));
}

// struct fiemap, 32 bytes, then as many extents of 56 bytes as it says there is room for
// (fs/ioctl.c, ioctl_fiemap).
void extents_written(Walk& walk, GuestAddress argument) {
  constexpr uint64_t kHeadBytes = 32;
  constexpr uint64_t kExtentBytes = 56;
  const auto room = walk.before<uint32_t>(argument + 24);
  if (!room) return;
  uint64_t extents = *room;
  if (walk.succeeded()) {
    if (const auto mapped = walk.after<uint32_t>(argument + 20)) {
      extents = std::min<uint64_t>(extents, *mapped);
    }
  } else if (!walk.may_have_stored() && walk.result() != -EBADR) {
    extents = 0;  // the head is copied back on errors as well
  }
  walk.wrote(argument, kHeadBytes + std::min<uint64_t>(extents, kMaxExtents) * kExtentBytes);
}

// struct file_dedupe_range, 24 bytes, then infos of 32 bytes (fs/ioctl.c).
void dedupe_written(Walk& walk, GuestAddress argument) {
  const auto count = walk.before<uint16_t>(argument + 16);
  if (count && walk.may_have_stored()) walk.wrote(argument, 24 + uint64_t{*count} * 32);
}

// struct pm_scan_arg, 96 bytes; its sixth field points to regions of 24 bytes, the result says
// how many (fs/proc/task_mmu.c, do_pagemap_scan).
void page_regions_written(Walk& walk, GuestAddress argument) {
  const auto regions = walk.before<uint64_t>(argument + 40);
  const auto room = walk.before<uint64_t>(argument + 48);
  walk.wrote(argument, 96);
  if (!regions || !room) return;
  const uint64_t capacity = std::min<uint64_t>(*room, kMaxExtents) * 24;
  const bool counted = walk.succeeded();
  walk.wrote({*regions},
             counted ? std::min(static_cast<uint64_t>(walk.result()) * 24, capacity) : capacity);
}

void unknown_request(Walk& walk, uint32_t request, GuestAddress argument) {
  // The descriptor does not know the request: no driver saw it.
  if (walk.result() == -ENOTTY || walk.result() == -EBADF) return;
  if ((_IOC_DIR(request) & _IOC_READ) != 0) walk.wrote(argument, _IOC_SIZE(request));
  if (!stores_by_number(request)) walk.doubt(fmt::format("ioctl request {:#x}", request));
}

}  // namespace

const Ioctl* find_ioctl(uint32_t request) {
  const auto* row = std::find_if(std::begin(kIoctls), std::end(kIoctls),
                                 [request](const Ioctl& one) { return one.request == request; });
  return row == std::end(kIoctls) ? nullptr : row;
}

std::span<const Ioctl> all_ioctls() { return kIoctls; }

void ioctl_outputs(Walk& walk) {
  const auto request = static_cast<uint32_t>(walk.argument(1));
  const GuestAddress argument = walk.pointer(2);
  switch (request) {
    case kGetInterfaces:
      return interfaces_written(walk, argument);
    case kFiemap:
      return extents_written(walk, argument);
    case kDedupeRange:
      return dedupe_written(walk, argument);
    case kPagemapScan:
      return page_regions_written(walk, argument);
    case kLinuxConsole:
      return walk.wrote(argument, 1);
    case kEthtool:
      // The buffer's size is known to each of a hundred commands alone.
      walk.wrote(argument, 40);
      if (walk.result() != -ENOTTY && walk.result() != -EBADF) walk.doubt("ioctl SIOCETHTOOL");
      return;
    default:
      break;
  }
  if (const Ioctl* row = find_ioctl(request)) {
    if (walk.may_have_stored()) walk.wrote(argument, row->bytes);
    return;
  }
  unknown_request(walk, request, argument);
}

}  // namespace rchk::syscalls
