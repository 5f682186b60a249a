#pragma once

#include <functional>
#include <string>

#include "engine/trace/event.h"

namespace rchk::trace {

// Names a system call by its number.
using SyscallNamer = std::function<std::string(int)>;

// One line for an event, without a newline: number, time, task, kind, and what it did in short.
// Without a namer system calls appear by number.
std::string describe(EventNumber number, const Event& event, const SyscallNamer& namer = {});

// Several lines, each ended by a newline: the line above, then registers, changes of the address
// space and the bytes written (of long runs the beginning).
std::string describe_in_detail(EventNumber number, const Event& event,
                               const SyscallNamer& namer = {});

}  // namespace rchk::trace
