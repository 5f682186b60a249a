#pragma once

#include "base/types.h"

namespace rchk::trace {

// A page that the kernel shows to each process at the same place. A call of one of the three
// addresses in it is a system call that returns to its caller by itself: gettimeofday, time and
// getcpu, 1024 bytes apart (arch/x86/entry/vsyscall/vsyscall_64.c). In a recording they are
// SyscallEvents whose `before` has the pc there; what rax was is not known.
inline constexpr AddressRange kVsyscallPage{{0xffffffffff600000}, {0xffffffffff601000}};

}  // namespace rchk::trace
