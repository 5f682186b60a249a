#include "engine/record/limits.h"

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sys/resource.h>

namespace rchk::record {

namespace {

// As /proc/PID/limits calls it (fs/proc/base.c).
std::string_view name_of(int resource) {
  switch (resource) {
    case RLIMIT_AS:
      return "Max address space";
    case RLIMIT_DATA:
      return "Max data size";
    case RLIMIT_FSIZE:
      return "Max file size";
    case RLIMIT_STACK:
      return "Max stack size";
    default:
      return {};
  }
}

// Anybody may read that. prlimit wants CAP_SYS_RESOURCE for a process of another user, which root
// does not have in most containers.
std::optional<uint64_t> limit_in_proc(pid_t pid, std::string_view name) {
  constexpr size_t kNameWidth = 26;
  std::ifstream file(fmt::format("/proc/{}/limits", pid));
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name) || line.size() <= kNameWidth) continue;
    const char* const value = line.c_str() + kNameWidth;
    if (std::string_view(value).starts_with("unlimited")) return RLIM_INFINITY;
    char* end = nullptr;
    const uint64_t limit = std::strtoull(value, &end, 10);
    return end == value ? std::nullopt : std::optional(limit);
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> soft_limit(pid_t pid, int resource) {
  struct rlimit limit {};
  if (prlimit(pid, static_cast<__rlimit_resource>(resource), nullptr, &limit) == 0) {
    return limit.rlim_cur;
  }
  return limit_in_proc(pid, name_of(resource));
}

bool has_limited_memory(pid_t pid) {
  const auto is_limited = [pid](int resource) {
    return soft_limit(pid, resource) != std::optional<uint64_t>(RLIM_INFINITY);
  };
  return is_limited(RLIMIT_AS) || is_limited(RLIMIT_DATA);
}

}  // namespace rchk::record
