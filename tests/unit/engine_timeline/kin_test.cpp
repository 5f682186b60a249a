#include "engine/timeline/kin.h"

#include <gtest/gtest.h>

namespace rchk::timeline {
namespace {

constexpr int32_t kProcess = 10;
constexpr Tid kLeader{10}, kThread{11}, kGuest{20};

TEST(Kin, KnowsAChildOfVforkWhileItIsThere) {
  Kin kin;
  kin.guests.push_back({kGuest, kThread, {5}, {9}});
  EXPECT_TRUE(kin.is_own(kGuest, {4}, kProcess));  // a thread of that number, if there was one
  EXPECT_FALSE(kin.is_own(kGuest, {5}, kProcess));
  EXPECT_FALSE(kin.is_own(kGuest, {8}, kProcess));
  EXPECT_TRUE(kin.is_own(kGuest, {9}, kProcess));
  EXPECT_TRUE(kin.is_own(kThread, {6}, kProcess));
  ASSERT_NE(kin.guest(kGuest, {6}), nullptr);
  EXPECT_EQ(kin.guest(kGuest, {6})->maker, kThread);
  EXPECT_EQ(kin.guest(kThread, {6}), nullptr);
}

TEST(Kin, TellsWhereOthersAreAbout) {
  Kin kin;
  EXPECT_FALSE(kin.has_guests({0}, {100}));
  kin.guests.push_back({kGuest, kThread, {5}, {9}});
  EXPECT_FALSE(kin.has_guests({0}, {4}));
  EXPECT_TRUE(kin.has_guests({0}, {5}));
  EXPECT_TRUE(kin.has_guests({6}, {7}));
  EXPECT_TRUE(kin.has_guests({8}, {20}));
  EXPECT_FALSE(kin.has_guests({9}, {20}));
}

TEST(Kin, OfAChildOfVforkOnlyItsOwnTaskIsItsOwnAtFirst) {
  Kin kin;
  kin.borrows = EventNumber{5};
  EXPECT_TRUE(kin.is_own(kLeader, {7}, kProcess));
  EXPECT_FALSE(kin.is_own(kThread, {7}, kProcess));
  EXPECT_TRUE(kin.has_guests({7}, {8}));
  kin.returns = EventNumber{7};
  EXPECT_TRUE(kin.is_own(kThread, {7}, kProcess));
  EXPECT_FALSE(kin.is_own(kThread, {6}, kProcess));
  EXPECT_FALSE(kin.has_guests({7}, {8}));
}

}  // namespace
}  // namespace rchk::timeline
