#pragma once

#include <cstdint>
#include <optional>

#include <sys/types.h>

namespace rchk::record {

// The soft limit of a process for RLIMIT_AS, _DATA, _FSIZE or _STACK; RLIM_INFINITY if there is
// none. Nothing if that cannot be found out.
std::optional<uint64_t> soft_limit(pid_t pid, int resource);

// Whether a process may map only so much: then a recorder maps nothing there.
bool has_limited_memory(pid_t pid);

}  // namespace rchk::record
