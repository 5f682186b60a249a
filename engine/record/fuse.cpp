#include "engine/record/fuse.h"

#include <cstdint>
#include <cstdio>
#include <functional>
#include <set>
#include <sstream>
#include <string>

#include <sys/sysmacros.h>

#include "engine/record/process.h"
#include "snapshot/address_space.h"

namespace rchk::record {

namespace {

constexpr unsigned kMiscMajor = 10, kFuseMinor = 229;

bool is_fuse(const std::string& type) {
  return type == "fuse" || type == "fuseblk" || type.starts_with("fuse.") ||
         type.starts_with("fuseblk.");
}

// Calls `take` with the number and the device of each that a process sees.
void for_each_fuse_mount(pid_t pid, const std::function<void(int mount, uint64_t device)>& take) {
  const auto contents = read_proc_file(pid, "mountinfo");
  if (!contents) return;
  std::istringstream lines(std::string(contents->begin(), contents->end()));
  for (std::string line; std::getline(lines, line);) {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    int mount = 0;
    unsigned major = 0, minor = 0;
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    if (std::sscanf(line.c_str(), "%d %*d %u:%u", &mount, &major, &minor) != 3) continue;
    std::istringstream rest(line.substr(dash + 3));
    std::string type;
    rest >> type;
    if (is_fuse(type)) take(mount, makedev(major, minor));
  }
}

}  // namespace

bool is_fuse_device(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == makedev(kMiscMajor, kFuseMinor);
}

bool is_on_fuse(pid_t pid, int descriptor) {
  const auto info = read_proc_file(pid, fmt::format("fdinfo/{}", descriptor));
  if (!info) return false;
  const std::string text(info->begin(), info->end());
  const size_t at = text.find("mnt_id:");
  int own = 0;
  if (at == std::string::npos || std::sscanf(text.c_str() + at, "mnt_id: %d", &own) != 1) {
    return false;
  }
  bool found = false;
  for_each_fuse_mount(pid, [&](int mount, uint64_t) { found |= mount == own; });
  return found;
}

bool maps_from_fuse(pid_t pid) {
  std::set<uint64_t> devices;
  for_each_fuse_mount(pid, [&](int, uint64_t device) { devices.insert(device); });
  if (devices.empty()) return false;
  const auto maps = snapshot::read_proc_maps(pid);
  if (!maps) return false;
  for (const snapshot::ProcMapsEntry& entry : *maps) {
    if (entry.inode != 0 && devices.count(entry.device) != 0) return true;
  }
  return false;
}

}  // namespace rchk::record
