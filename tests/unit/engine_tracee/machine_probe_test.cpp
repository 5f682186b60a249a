#include "engine/tracee/machine_probe.h"

#include <algorithm>
#include <set>
#include <string>

#include <sys/wait.h>

#include <gtest/gtest.h>

namespace rchk::tracee {
namespace {

TEST(MachineProbe, ExplainsEveryFeatureAndLeavesNoChild) {
  const std::vector<ProbeResult> results = probe_machine();
  std::set<std::string> names;
  for (const ProbeResult& result : results) {
    SCOPED_TRACE(result.name + ": " + result.detail);
    EXPECT_TRUE(names.insert(result.name).second);
    EXPECT_FALSE(result.detail.empty());
    EXPECT_FALSE(result.lost.empty());
    EXPECT_EQ(result.remedy.empty(), result.works);
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1) << "a probe left a child behind";
}

TEST(MachineProbe, AnswersTheSameTwice) { EXPECT_EQ(probe_machine(), probe_machine()); }

// The other tests of this library trace processes; where that works, its probe must say so.
TEST(MachineProbe, FindsWhatTheTestsThemselvesNeed) {
  const std::vector<ProbeResult> results = probe_machine();
  const auto ptrace = std::find_if(results.begin(), results.end(), [](const ProbeResult& result) {
    return result.name == "ptrace";
  });
  ASSERT_NE(ptrace, results.end());
  EXPECT_TRUE(ptrace->works) << ptrace->detail;
}

}  // namespace
}  // namespace rchk::tracee
