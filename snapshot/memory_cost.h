#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace rchk::snapshot {

// What keeping a fork of a process costs in memory.
struct ForkCost {
  // Paid at once: the fork's own page tables.
  uint64_t page_table_bytes = 0;
  // The most that copies on write can add while the original runs: all private memory it has.
  uint64_t at_most_bytes = 0;
  // For a fork that exists: what would be free if it were killed now.
  uint64_t exclusive_bytes = 0;
};

// Takes the figures of /proc/PID/smaps_rollup and /proc/PID/status (proc(5)). The kernel walks
// all page tables for them: about a millisecond for 256 MiB. kGone when the process has ended.
Result<ForkCost> fork_cost(int pid);

// The same from the text of the two files; missing lines count as 0.
ForkCost parse_fork_cost(std::string_view smaps_rollup, std::string_view status);

// How many page faults a process has had that needed no input (proc(5), minflt of
// /proc/PID/stat): after a fork, most are copies on write. 0 when it has ended.
uint64_t minor_faults(int pid);

// How many pages of private memory a process has at the moment that are no file's (proc(5),
// /proc/PID/statm; the kernel's count may be some dozens off). 0 when it has ended.
uint64_t private_pages(int pid);

// The memory of this machine, or what the caller's control group may use, if that is less.
uint64_t usable_memory_bytes();

}  // namespace rchk::snapshot
