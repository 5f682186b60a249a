#include "engine/record/snapshot_pace.h"

#include <gtest/gtest.h>

#include "engine/record/memory_changes.h"

namespace rchk::record {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kStart = 1000 * kMs;

TEST(SnapshotPace, BeginsHalfASecondAfterItWasAskedFirst) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 0, {}};
  EXPECT_FALSE(pace.is_due(rate, kStart, {0, 0}));
  EXPECT_FALSE(pace.is_due(rate, kStart + 499 * kMs, {0, 0}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 500 * kMs, {0, 0}));
}

TEST(SnapshotPace, HasNoneWhereTheyMayCostNothing) {
  SnapshotPace pace;
  EXPECT_FALSE(pace.is_due({0, 0, {}}, kStart, {0, 0}));
  EXPECT_FALSE(pace.is_due({0, 0, {}}, kStart * 1000, {0, 0}));
  EXPECT_FALSE(pace.is_overdue({0, 0, {}}, kStart * 1000, {0, 0}));
}

TEST(SnapshotPace, KeepsToItsShareOfTheTime) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 0, {}};
  // 20 ms of standing still and 10 ms of tracking: 600 ms are 5 % of that.
  pace.note(rate, {kStart - 20 * kMs, kStart, 10 * kMs, {0, 0}});
  EXPECT_FALSE(pace.is_due(rate, kStart + 599 * kMs, {0, 0}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 600 * kMs, {0, 0}));
  // The sink's work for that one, when it is done, counts as well.
  EXPECT_FALSE(pace.is_due(rate, kStart + 799 * kMs, {10 * kMs, 0}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 800 * kMs, {10 * kMs, 0}));
}

TEST(SnapshotPace, CountsTheWorkForTheLastOneAlone) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 0, {}};
  pace.note(rate, {kStart - kMs, kStart, 0, {5000 * kMs, 0}});
  EXPECT_FALSE(pace.is_due(rate, kStart + 249 * kMs, {5000 * kMs, 0}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 250 * kMs, {5000 * kMs, 0}));
}

TEST(SnapshotPace, GoesByTheIntervalThatIsAskedFor) {
  SnapshotPace pace;
  const SnapshotRate rate{1e9, 0, 10 * kMs};
  EXPECT_FALSE(pace.is_due(rate, kStart, {0, 0}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 10 * kMs, {0, 0}));
  pace.note(rate, {kStart, kStart + 500 * kMs, 0, {0, 0}});
  EXPECT_FALSE(pace.is_due(rate, kStart + 509 * kMs, {0, 0}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 510 * kMs, {0, 0}));
}

TEST(SnapshotPace, StopsAComputationOnlyWhenOneIsLongDue) {
  SnapshotPace pace;
  const SnapshotRate rate{100, 0, {}};
  pace.note(rate, {kStart - 10 * kMs, kStart, 0, {0, 0}});
  EXPECT_TRUE(pace.is_due(rate, kStart + 250 * kMs, {0, 0}));
  EXPECT_FALSE(pace.is_overdue(rate, kStart + 1249 * kMs, {0, 0}));
  EXPECT_TRUE(pace.is_overdue(rate, kStart + 1250 * kMs, {0, 0}));
  // Four times as long as the last one took, where that is more.
  EXPECT_FALSE(pace.is_overdue(rate, kStart + 1999 * kMs, {390 * kMs, 0}));
  EXPECT_TRUE(pace.is_overdue(rate, kStart + 2000 * kMs, {390 * kMs, 0}));
}

TEST(SnapshotPace, LeavesRoomForOneAsLargeAsTheLast) {
  constexpr uint64_t kMega = 1'000'000;
  SnapshotPace pace;
  const SnapshotRate rate{5, kMega, {}};
  EXPECT_FALSE(pace.is_due(rate, kStart, {}));
  pace.note(rate, {kStart + 500 * kMs, kStart + 501 * kMs, 0, {}});
  // 0.9 MB so far, and as much to come: 1.8 s at 1 MB/s.
  EXPECT_FALSE(pace.is_due(rate, kStart + 1799 * kMs, {0, kMega * 9 / 10}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 1800 * kMs, {0, kMega * 9 / 10}));
  pace.note(rate, {kStart + 1800 * kMs, kStart + 1801 * kMs, 0, {0, kMega * 9 / 10}});
  // 1.9 MB so far, of which 1 MB for the last one.
  EXPECT_FALSE(pace.is_due(rate, kStart + 2899 * kMs, {0, kMega * 19 / 10}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 2900 * kMs, {0, kMega * 19 / 10}));
}

TEST(SnapshotPace, WaitsNoLongerThanTwoSecondsForWhatTheSinkDoes) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 1'000'000, {}};
  EXPECT_FALSE(pace.is_due(rate, kStart, {}));
  pace.note(rate, {kStart + 999 * kMs, kStart + 1000 * kMs, 0, {}});
  const trace::SnapshotWork much{60'000 * kMs, uint64_t{1} << 40};
  EXPECT_FALSE(pace.is_due(rate, kStart + 2999 * kMs, much));
  EXPECT_TRUE(pace.is_due(rate, kStart + 3000 * kMs, much));
  // Then nor does it wait for a call.
  EXPECT_TRUE(pace.is_overdue(rate, kStart + 3000 * kMs, much));
  SnapshotRate patient = rate;
  patient.longest_ns = 10'000 * kMs;
  EXPECT_FALSE(pace.is_due(patient, kStart + 10999 * kMs, much));
  EXPECT_TRUE(pace.is_due(patient, kStart + 11000 * kMs, much));
}

TEST(SnapshotPace, WaitsAsLongAsTheProgramsOwnTimeTakes) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 0, {}};
  // 150 ms are 5 % of 3 s.
  pace.note(rate, {kStart - 100 * kMs, kStart, 50 * kMs, {}});
  EXPECT_FALSE(pace.is_due(rate, kStart + 2999 * kMs, {}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 3000 * kMs, {}));
}

TEST(SnapshotPace, WaitsForTheLastOneToBeWritten) {
  SnapshotPace pace;
  pace.note({5, 0, {}}, {kStart - kMs, kStart, 0, {}});
  const trace::SnapshotWork waiting{0, 0, 1};
  EXPECT_FALSE(pace.is_due({5, 0, {}}, kStart + 60'000 * kMs, waiting));
  EXPECT_FALSE(pace.is_overdue({5, 0, {}}, kStart + 60'000 * kMs, waiting));
  EXPECT_TRUE(pace.is_due({5, 0, {}}, kStart + 60'000 * kMs, {}));
  // Unless they are asked for whatever they cost.
  EXPECT_TRUE(pace.is_due({1e9, 0, kMs}, kStart + 60'000 * kMs, waiting));
}

TEST(SnapshotPace, GoesByAGuessForTheFirst) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 1'000'000, {}};
  EXPECT_FALSE(pace.is_due(rate, kStart, {}));
  EXPECT_FALSE(pace.wants_guess(rate, kStart + 499 * kMs));
  EXPECT_TRUE(pace.wants_guess(rate, kStart + 500 * kMs));
  pace.guess_first({40 * kMs, 1000});
  EXPECT_FALSE(pace.wants_guess(rate, kStart + 500 * kMs));
  EXPECT_FALSE(pace.is_due(rate, kStart + 799 * kMs, {}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 800 * kMs, {}));
  pace.guess_first({0, 1'200'000});
  EXPECT_FALSE(pace.is_due(rate, kStart + 1199 * kMs, {}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 1200 * kMs, {}));
  // Two seconds at most; and then none is waited for.
  pace.guess_first({60'000 * kMs, 0});
  EXPECT_FALSE(pace.is_overdue(rate, kStart + 1999 * kMs, {}));
  EXPECT_TRUE(pace.is_due(rate, kStart + 2000 * kMs, {}));
  EXPECT_TRUE(pace.is_overdue(rate, kStart + 2000 * kMs, {}));
}

TEST(SnapshotPace, AsksForNoGuessWhereTheIntervalIsGiven) {
  SnapshotPace pace;
  const SnapshotRate rate{5, 1'000'000, 10 * kMs};
  EXPECT_FALSE(pace.is_due(rate, kStart, {}));
  EXPECT_FALSE(pace.wants_guess(rate, kStart + 60'000 * kMs));
}

snapshot::RangeSet pages(uint64_t first, uint64_t count) {
  return {range_of({first * kPageSize}, count * kPageSize)};
}

TEST(MemoryChanges, CountWholePagesThatWereWritten) {
  MemoryChanges changes;
  changes.note_written({trace::MemoryWrite{{5 * kPageSize + 10}, Bytes(kPageSize)}});
  EXPECT_EQ(changes.written(), pages(5, 2));
  EXPECT_TRUE(changes.replaced().empty());
}

TEST(MemoryChanges, JoinWhatTouches) {
  MemoryChanges changes;
  for (uint64_t page = 0; page < 100'000; ++page) {
    changes.note_replaced(pages(page, 1));
    changes.note_written(pages(page % 10, 1));
  }
  EXPECT_EQ(changes.replaced(), pages(0, 100'000));
  EXPECT_LT(changes.written().size(), 10'000u);
  EXPECT_EQ(snapshot::normalized(changes.written()), pages(0, 10));
}

TEST(MemoryChanges, BeginAnewWithWhatCallsMayBeStoring) {
  MemoryChanges changes;
  changes.note_replaced(pages(1, 1));
  changes.note_written(pages(2, 1));
  changes.begin_anew({range_of({9 * kPageSize + 1}, 8)});
  EXPECT_TRUE(changes.replaced().empty());
  EXPECT_EQ(changes.written(), pages(9, 1));
}

}  // namespace
}  // namespace rchk::record
