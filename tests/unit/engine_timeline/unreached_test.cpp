#include "engine/timeline/unreached.h"

#include <gtest/gtest.h>

namespace rchk::timeline {
namespace {

constexpr GuestAddress kHere{0x1000}, kThere{0x2000};

Position at(uint64_t event, uint64_t instructions = 0) { return {{event}, 0, instructions, 0}; }

TEST(Unreached, KnowsNothingInTheBeginning) {
  const Unreached known;
  EXPECT_FALSE(known.covers(at(0), at(1), kHere));
}

TEST(Unreached, CoversWhatWasNoted) {
  Unreached known;
  known.note(at(2), at(5, 7), {kHere});
  EXPECT_TRUE(known.covers(at(2), at(5, 7), kHere));
  EXPECT_TRUE(known.covers(at(3), at(4), kHere));
  EXPECT_FALSE(known.covers(at(1, 9), at(3), kHere));
  EXPECT_FALSE(known.covers(at(3), at(5, 8), kHere));
  EXPECT_FALSE(known.covers(at(5, 7), at(6), kHere));
  EXPECT_FALSE(known.covers(at(3), at(4), kThere));
}

TEST(Unreached, JoinsWhatTouchesOrOverlaps) {
  Unreached known;
  known.note(at(1), at(2), {kHere});
  known.note(at(3), at(4), {kHere, kThere});
  EXPECT_FALSE(known.covers(at(1), at(4), kHere));
  known.note(at(2), at(3), {kHere});
  EXPECT_TRUE(known.covers(at(1), at(4), kHere));
  EXPECT_FALSE(known.covers(at(1), at(4), kThere));
  known.note(at(0), at(9), {kThere});
  EXPECT_TRUE(known.covers(at(0), at(9), kThere));
  known.note(at(5), at(6), {kThere});
  EXPECT_TRUE(known.covers(at(0), at(9), kThere));
}

TEST(Unreached, LeavesGapsOpen) {
  Unreached known;
  for (uint64_t i = 0; i < 20; i += 2) known.note(at(i), at(i + 1), {kHere});
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(i % 2 == 0, known.covers(at(i), at(i + 1), kHere)) << i;
  }
  known.note(at(4, 1), at(10), {kHere});
  EXPECT_TRUE(known.covers(at(4), at(11), kHere));
  EXPECT_FALSE(known.covers(at(3), at(11), kHere));
  EXPECT_FALSE(known.covers(at(4), at(12), kHere));
}

TEST(Unreached, IgnoresAnEmptyStretch) {
  Unreached known;
  known.note(at(3), at(3), {kHere});
  known.note(at(4), at(3), {kHere});
  EXPECT_FALSE(known.covers(at(2), at(3), kHere));
  EXPECT_FALSE(known.covers(at(3), at(4), kHere));
}

}  // namespace
}  // namespace rchk::timeline
