#include "engine/timeline/checkpoints.h"

#include <gtest/gtest.h>

namespace rchk::timeline {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

Position at(uint64_t event, uint32_t anchor = 0) { return {{event}, anchor, 0, 0}; }

constexpr uint64_t kNoLimit = UINT64_MAX;

uint64_t nothing(const replay::Guest&) { return 0; }

// One without a process: these tests are about which are kept.
Checkpoint checkpoint(Position position, int64_t at_ns, bool pinned = false) {
  replay::Guest guest;
  guest.position = position;
  return {std::move(guest), at_ns, pinned};
}

TEST(Checkpoints, AreFoundByPosition) {
  Checkpoints all(10, kNoLimit, nothing);
  EXPECT_EQ(nullptr, all.at_or_before(at(5)));
  for (const uint64_t event : {0, 10, 20}) {
    all.add(checkpoint(at(event), static_cast<int64_t>(event) * kMillisecond), 0);
  }
  EXPECT_EQ(at(10), all.at_or_before(at(10))->guest.position);
  EXPECT_EQ(at(0), all.before(at(10))->guest.position);
  EXPECT_EQ(at(10), all.before(at(15))->guest.position);
  EXPECT_EQ(nullptr, all.before(at(0)));
  EXPECT_TRUE(all.contains(at(20)));
  EXPECT_FALSE(all.contains(at(21)));
  EXPECT_EQ(20 * kMillisecond, all.latest_ns());
}

TEST(Checkpoints, KeepTheFirstOfAPosition) {
  Checkpoints all(10, kNoLimit, nothing);
  all.add(checkpoint(at(1), 5), 0);
  all.add(checkpoint(at(1), 6), 0);
  EXPECT_EQ(1u, all.size());
  EXPECT_EQ(5, all.at_or_before(at(1))->at_ns);
}

TEST(Checkpoints, AreDenseNearThePresentAndThinFarAway) {
  constexpr size_t kLimit = 24;
  Checkpoints all(kLimit, kNoLimit, nothing);
  all.add(checkpoint(at(0), 0, true), 0);
  constexpr int64_t kEnd = 1000;
  for (int64_t i = 1; i <= kEnd; ++i) {
    all.add(checkpoint(at(static_cast<uint64_t>(i)), i * 150 * kMillisecond),
            i * 150 * kMillisecond);
    ASSERT_LE(all.size(), kLimit);
  }
  EXPECT_EQ(at(0), all.all().begin()->first) << "the start is never dropped";
  // The gap before any point is at most a part of how far back it is.
  int64_t previous = 0;
  for (const auto& [position, one] : all.all()) {
    const int64_t gap = one.at_ns - previous;
    const int64_t distance = kEnd * 150 * kMillisecond - one.at_ns;
    EXPECT_LE(gap, distance + 450 * kMillisecond) << one.at_ns / kMillisecond;
    previous = one.at_ns;
  }
  EXPECT_GE(all.latest_ns(), (kEnd - 2) * 150 * kMillisecond);
}

TEST(Checkpoints, PinnedOnesStay) {
  Checkpoints all(3, kNoLimit, nothing);
  for (uint64_t i = 0; i < 10; ++i) {
    all.add(checkpoint(at(i), static_cast<int64_t>(i) * kMillisecond, i % 2 == 0), 0);
  }
  for (uint64_t i = 0; i < 10; i += 2) EXPECT_TRUE(all.contains(at(i))) << i;
}

TEST(Checkpoints, AreFewerWhereTheyCostMuch) {
  constexpr uint64_t kEach = 100;
  Checkpoints all(24, 5 * kEach, [](const replay::Guest&) { return kEach; });
  all.add(checkpoint(at(0), 0, true), 0);
  for (uint64_t i = 1; i < 50; ++i) {
    all.add(checkpoint(at(i), static_cast<int64_t>(i) * kMillisecond),
            static_cast<int64_t>(i) * kMillisecond);
    ASSERT_LE(all.cost_bytes(), 5 * kEach);
  }
  // Pinned ones are not theirs to count, and the newest has cost nothing yet.
  EXPECT_EQ(7u, all.size());
}

TEST(Checkpoints, OfASegmentAreDroppedTogether) {
  Checkpoints all(10, kNoLimit, nothing);
  all.add(checkpoint(at(0), 0, true), 0);
  all.add(checkpoint(at(4, 1), 1, true), 0);
  Position inside = at(4, 1);
  inside.instructions = 77;
  all.add(checkpoint(inside, 2), 0);
  all.add(checkpoint(at(4, 2), 3, true), 0);
  all.drop_segment({4}, 1);
  EXPECT_FALSE(all.contains(at(4, 1)));
  EXPECT_FALSE(all.contains(inside));
  EXPECT_TRUE(all.contains(at(4, 2)));
  EXPECT_TRUE(all.contains(at(0)));
}

AddressRange page(uint64_t number) { return range_of({number * kPageSize}, kPageSize); }

Checkpoint changed_since(Position since, Position position, snapshot::RangeSet pages) {
  Checkpoint made = checkpoint(position, static_cast<int64_t>(position.event.value));
  made.changes = Changes{since, std::move(pages)};
  return made;
}

TEST(Checkpoints, KnowWhatDidNotChangeBetweenThem) {
  Checkpoints all(10, kNoLimit, nothing);
  all.add(checkpoint(at(0), 0, true), 0);
  all.add(changed_since(at(0), at(10), {page(1)}), 0);
  all.add(changed_since(at(10), at(20), {page(2)}), 0);
  all.add(checkpoint(at(30), 30), 0);
  EXPECT_FALSE(all.unchanged_before(at(10), page(1)));
  EXPECT_TRUE(all.unchanged_before(at(10), page(2)));
  EXPECT_TRUE(all.unchanged_before(at(20), page(1)));
  EXPECT_FALSE(all.unchanged_before(at(20), {page(2).begin + 8, page(2).begin + 16}));
  EXPECT_FALSE(all.unchanged_before(at(30), page(1))) << "nothing is known of the way there";
  EXPECT_FALSE(all.unchanged_before(at(15), page(1))) << "there is no checkpoint";
  EXPECT_FALSE(all.unchanged_before(at(0), page(1))) << "there is none before";
}

TEST(Checkpoints, OneThatGoesLeavesWhatItKnowsToTheNext) {
  Checkpoints all(10, kNoLimit, nothing);
  all.add(checkpoint(at(0), 0, true), 0);
  all.add(changed_since(at(0), at(10), {page(1)}), 0);
  all.add(changed_since(at(10), at(20), {page(2)}), 0);
  all.drop_segment({10}, 0);
  EXPECT_FALSE(all.unchanged_before(at(20), page(1)));
  EXPECT_FALSE(all.unchanged_before(at(20), page(2)));
  EXPECT_TRUE(all.unchanged_before(at(20), page(3)));
}

TEST(Checkpoints, OneOfWhichNothingIsKnownTakesTheNextOnesKnowledgeAlong) {
  Checkpoints all(10, kNoLimit, nothing);
  all.add(checkpoint(at(0), 0, true), 0);
  all.add(checkpoint(at(10), 10), 0);
  all.add(changed_since(at(10), at(20), {page(2)}), 0);
  all.drop_segment({10}, 0);
  EXPECT_FALSE(all.unchanged_before(at(20), page(3)));
}

TEST(Checkpoints, OneMadeInBetweenLeavesTheNextOnesKnowledge) {
  Checkpoints all(10, kNoLimit, nothing);
  all.add(checkpoint(at(0), 0, true), 0);
  all.add(changed_since(at(0), at(20), {page(2)}), 0);
  all.add(checkpoint(at(10), 10), 0);
  EXPECT_TRUE(all.unchanged_before(at(20), page(3)));
  EXPECT_FALSE(all.unchanged_before(at(10), page(3)));
  all.drop_segment({10}, 0);
  EXPECT_TRUE(all.unchanged_before(at(20), page(3)));
  EXPECT_FALSE(all.unchanged_before(at(20), page(2)));
}

TEST(Checkpoints, KnowWhereTheGuestDidNotComeBy) {
  const GuestAddress one{0x1000}, two{0x2000};
  Checkpoints all(10, kNoLimit, nothing);
  for (const uint64_t event : {0, 10, 20, 30}) all.add(checkpoint(at(event), 1, event == 0), 0);
  EXPECT_FALSE(all.unvisited_before(at(10), one));
  all.note_unvisited(at(5), at(25), {one});  // the whole way from 10 to 20 only
  EXPECT_FALSE(all.unvisited_before(at(10), one));
  EXPECT_TRUE(all.unvisited_before(at(20), one));
  EXPECT_FALSE(all.unvisited_before(at(20), two));
  EXPECT_FALSE(all.unvisited_before(at(30), one));
  all.note_unvisited(at(10), at(30), {two});
  EXPECT_TRUE(all.unvisited_before(at(20), one));
  EXPECT_TRUE(all.unvisited_before(at(20), two));
  EXPECT_TRUE(all.unvisited_before(at(30), two));
  all.drop_segment({20}, 0);
  EXPECT_TRUE(all.unvisited_before(at(30), two));
  EXPECT_FALSE(all.unvisited_before(at(30), one));
  all.add(checkpoint(at(15), 1), 0);
  EXPECT_TRUE(all.unvisited_before(at(30), two));
  EXPECT_FALSE(all.unvisited_before(at(15), two));
}

}  // namespace
}  // namespace rchk::timeline
