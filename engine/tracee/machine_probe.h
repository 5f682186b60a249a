#pragma once

#include <vector>

#include "base/probe.h"

namespace rchk::tracee {

// Tries what recording and replaying need of this machine, each in a child process of its own:
// tracing, stopping at system calls, seccomp filters, trapping CPUID and the time stamp counter,
// watchpoints, reading memory, memfd, and fixed address layouts. Dirty trackers have probes of
// their own in snapshot/tracker_probe.h. Takes a few milliseconds. May be called from a process
// with threads.
std::vector<ProbeResult> probe_machine();

// Whether the processor executes RDSEED, whatever CPUID says.
bool executes_rdseed();
// Whether PR_TSC_SIGSEGV makes RDTSC trap, and a debug register a store; of the same probes. Each
// takes a millisecond.
bool tsc_traps();
bool watchpoints_trap();

}  // namespace rchk::tracee
