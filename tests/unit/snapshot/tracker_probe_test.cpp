#include "snapshot/tracker_probe.h"

#include <gtest/gtest.h>

namespace rchk::snapshot {
namespace {

TEST(TrackerProbe, TriesAllTrackersAndExplainsFailures) {
  const std::vector<TrackerProbe> probes = probe_trackers();
  ASSERT_EQ(probes.size(), 4u);
  for (const TrackerProbe& probe : probes) {
    SCOPED_TRACE(probe.result.name + ": " + probe.result.detail);
    EXPECT_FALSE(probe.result.detail.empty());
    EXPECT_FALSE(probe.result.lost.empty());
    EXPECT_EQ(probe.result.remedy.empty(), probe.result.works);
  }
  // Comparing needs no feature that a kernel may lack.
  EXPECT_TRUE(probes.back().result.works) << probes.back().result.detail;
}

TEST(TrackerProbe, TakesTheFirstThatWorks) {
  std::vector<TrackerProbe> probes(3);
  probes[0] = {TrackerKind::kSoftDirty, {.name = "a", .detail = "not marked"}};
  probes[1] = {TrackerKind::kExclusive, {.name = "b", .detail = "no pagemap"}};
  probes[2] = {TrackerKind::kContent, {.name = "c", .works = true}};
  EXPECT_EQ(best_tracker(probes).value(), TrackerKind::kContent);
  probes[2].result.works = false;
  const auto none = best_tracker(probes);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::kMachine);
  EXPECT_NE(none.error().context.find("no pagemap"), std::string::npos);
}

}  // namespace
}  // namespace rchk::snapshot
