#include "engine/trace/page_group.h"

#include <gtest/gtest.h>

#include "snapshot/page_version.h"

namespace rchk::trace {
namespace {

using snapshot::PageChunk;

Bytes full_of(uint8_t value) { return Bytes(PageChunk::kFullBytes, value); }

TEST(PageGroup, PartsAreWhatWasAdded) {
  PageGroup group;
  const Bytes last(PageChunk::kHeadBytes + kPageSize, 3);
  group.add({7}, full_of(1));
  group.add({8}, full_of(2));
  group.add({9}, last);
  EXPECT_EQ(group.first().value, 7u);
  EXPECT_EQ(group.count(), 3u);
  EXPECT_EQ(*group.find({8}), full_of(2));
  EXPECT_EQ(group.find({6}), nullptr);
  EXPECT_EQ(group.find({10}), nullptr);
  const Bytes written = group.take();
  EXPECT_TRUE(group.is_empty());
  EXPECT_EQ(group.find({8}), nullptr);
  EXPECT_EQ(PageGroup::count_in(written.size()), 3u);
  EXPECT_EQ(PageGroup::parts(written), (std::vector<Bytes>{full_of(1), full_of(2), last}));
}

TEST(PageGroup, TakesOnlyWhatFollowsAFullOne) {
  PageGroup group;
  EXPECT_TRUE(group.takes({7}));
  group.add({7}, full_of(1));
  EXPECT_TRUE(group.takes({8}));
  EXPECT_FALSE(group.takes({9}));
  EXPECT_FALSE(group.takes({7}));
  group.add({8}, Bytes(PageChunk::kHeadBytes + kPageSize));
  EXPECT_FALSE(group.takes({9}));
}

TEST(PageGroup, IsFullInTime) {
  PageGroup group;
  for (uint32_t i = 0; i < PageGroup::kMostChunks; ++i) {
    EXPECT_FALSE(group.is_full());
    group.add({i}, full_of(1));
  }
  EXPECT_TRUE(group.is_full());
  EXPECT_FALSE(group.takes({PageGroup::kMostChunks}));
}

// Recordings have had chunks of the file with one chunk of pages each.
TEST(PageGroup, OneChunkIsAGroup) {
  const Bytes one(PageChunk::kHeadBytes + 2 * kPageSize, 5);
  EXPECT_EQ(PageGroup::parts(one), std::vector<Bytes>{one});
  EXPECT_EQ(PageGroup::parts({}), std::vector<Bytes>{Bytes()});
}

TEST(PageGroup, SizesThatNobodyWroteAreTooMany) {
  EXPECT_GT(PageGroup::count_in(uint64_t{2} << 30), PageGroup::kMostChunks);
  EXPECT_GT(PageGroup::count_in(UINT64_MAX), PageGroup::kMostChunks);
}

}  // namespace
}  // namespace rchk::trace
