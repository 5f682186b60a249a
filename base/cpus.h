#pragma once

#include <span>

#include <sys/types.h>

namespace rchk {

// Lets a thread run on these cores alone (sched_setaffinity(2)); 0 is the calling thread. Left as
// it is where there are none, or where the kernel refuses.
void run_on(pid_t tid, std::span<const int> cpus);

}  // namespace rchk
