#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/probe.h"
#include "cli/commands.h"
#include "engine/record/recorder.h"
#include "engine/tracee/machine_probe.h"
#include "snapshot/tracker_probe.h"

namespace rchk::cli {

namespace {

void print(const ProbeResult& result) {
  fmt::print("{:4} {:32} {}\n", result.works ? "yes" : "no", result.name, result.detail);
  if (result.works) return;
  if (!result.lost.empty()) fmt::print("{:5}without it: {}\n", "", result.lost);
  if (!result.remedy.empty()) fmt::print("{:5}remedy: {}\n", "", result.remedy);
}

}  // namespace

// Exits with kMachineStatus when recording is impossible here.
int run_doctor() {
  const std::vector<ProbeResult> machine = tracee::probe_machine();
  for (const ProbeResult& result : machine) print(result);
  for (const snapshot::TrackerProbe& probe : snapshot::probe_trackers()) print(probe.result);
  print(record::probe_agent());
  const bool can_trace = !machine.empty() && machine.front().works;
  return can_trace ? 0 : kMachineStatus;
}

}  // namespace rchk::cli
