#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/syscalls/memory_reader.h"
#include "engine/syscalls/syscall.h"

// Calls, errors and signals as text, for dumps and messages.
namespace rchk::syscalls {

// "openat(AT_FDCWD, \"/etc/passwd\", 0x80000, 0) = 3", "read(3, 0x7ffc10, 4096) = -EINTR".
// Strings appear when `memory` is given and holds them, else their addresses. No result: the
// call has not returned.
std::string describe_call(const Call& call, std::optional<int64_t> result = std::nullopt,
                          const MemoryReader* memory = nullptr);

// "ENOENT" for 2; the kernel's internal ones too ("ERESTARTSYS" for 512); "errno 9999".
std::string errno_name(int errno_value);

// "SIGSEGV" for 11, "SIGRTMIN+2" for 34 (counted as the kernel does), "signal 99".
std::string signal_name(int number);

}  // namespace rchk::syscalls
