#include "engine/record/pause_budget.h"

#include <gtest/gtest.h>

namespace rchk::record {
namespace {

constexpr uint64_t kMs = 1'000'000;

TEST(PauseBudget, AllowsAShareOfTheTime) {
  const PauseBudget budget(5, 0);
  EXPECT_TRUE(budget.allows(1000 * kMs, 50 * kMs));
  EXPECT_FALSE(budget.allows(1000 * kMs, 51 * kMs));
}

TEST(PauseBudget, CountsWhatWasTaken) {
  PauseBudget budget(5, 0);
  budget.note(40 * kMs);
  EXPECT_FALSE(budget.allows(1000 * kMs, 20 * kMs));
  EXPECT_TRUE(budget.allows(1200 * kMs, 20 * kMs));
}

TEST(PauseBudget, HasSomethingToBeginWith) {
  PauseBudget budget(5, 100 * kMs);
  EXPECT_TRUE(budget.allows(0, 100 * kMs));
  budget.note(100 * kMs);
  EXPECT_FALSE(budget.allows(0, 1));
}

}  // namespace
}  // namespace rchk::record
