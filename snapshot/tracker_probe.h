#pragma once

#include <string_view>
#include <vector>

#include "base/probe.h"
#include "snapshot/dirty_tracker.h"

namespace rchk::snapshot {

// Whether a dirty tracker can work on this machine.
struct TrackerProbe {
  TrackerKind kind = TrackerKind::kContent;
  ProbeResult result;
};

// Tries each tracker, best one first: a helper process writes one page and leaves others alone, and
// the tracker must tell them apart. Never looks at versions:
// on some kernels writing 4 to clear_refs succeeds and tracks nothing. Takes a few milliseconds.
std::vector<TrackerProbe> probe_trackers();

// Whether a process that asks for a userfaultfd gets an answer, be it a refusal: a sandbox's filter
// of seccomp may kill it instead.
bool may_ask_for_userfaultfd();

// The best tracker that works here; kMachine with all reasons when none is.
Result<TrackerKind> best_tracker(const std::vector<TrackerProbe>& probes);

// The one of that name (name_of()): kMisuse naming all if there is none, kMachine with what was
// seen and the remedy if it does not work here.
Result<TrackerKind> tracker_named(std::string_view name);

}  // namespace rchk::snapshot
