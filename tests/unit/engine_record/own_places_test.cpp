#include "engine/record/own_places.h"

#include <gtest/gtest.h>

namespace rchk::record {
namespace {

constexpr GuestAddress kNoHeap{0}, kHeapEnd{0x5555556a0000};
constexpr uint64_t kMiB = 1 << 20, kGiB = 1 << 30, kTiB = 1ull << 40;

snapshot::AddressSpace mapped(std::initializer_list<AddressRange> ranges) {
  snapshot::AddressSpace memory;
  for (const AddressRange& range : ranges)
    memory.map({range, snapshot::kRead, false, false, {}, {}});
  return memory;
}

// A program, its libraries, and its stack.
snapshot::AddressSpace usual() {
  return mapped({range_of({0x555555554000}, kMiB), range_of({0x7ffff7d00000}, 3 * kMiB),
                 range_of({0x7ffffffde000}, 0x21000)});
}

bool is_free(const snapshot::AddressSpace& memory, GuestAddress at, uint64_t bytes) {
  return memory.overlapping(range_of(at, bytes)).empty();
}

TEST(OwnPlaces, AreFarFromWhatIsMapped) {
  const snapshot::AddressSpace memory = usual();
  const auto place = remote_place(memory, {}, kMiB);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->value % kPageSize, 0u);
  EXPECT_TRUE(is_free(memory, *place - kTiB, 2 * kTiB));
}

TEST(OwnPlaces, LieBelowEachOther) {
  snapshot::AddressSpace memory = usual();
  const auto first = remote_place(memory, {}, kMiB);
  ASSERT_TRUE(first);
  const AddressRange own = range_of(*first, kMiB);
  EXPECT_EQ(remote_place(memory, {own}, kGiB), *first - kGiB);
  // That the guest has it as well changes nothing.
  memory.map({own, snapshot::kRead, false, false, {}, {}});
  EXPECT_EQ(remote_place(memory, {own}, kGiB), *first - kGiB);
}

TEST(OwnPlaces, ThereMayBeNone) {
  EXPECT_FALSE(remote_place(usual(), {}, 120 * kTiB));
  const auto full = mapped({{{0}, {1ull << 47}}});
  EXPECT_FALSE(remote_place(full, {}, kPageSize));
  EXPECT_FALSE(place_within_reach(full, {0x7ffff7e00000}, kPageSize, kNoHeap));
}

TEST(OwnPlaces, WithinReachAreAboveTheLibraries) {
  const auto place = place_within_reach(usual(), {0x7ffff7d12345}, kPageSize, kNoHeap);
  ASSERT_TRUE(place);
  EXPECT_GT(*place, GuestAddress{0x7ffff8000000 + 4 * kMiB});
  EXPECT_LT(*place, GuestAddress{0x7ffff8000000 + 64 * kMiB});
}

TEST(OwnPlaces, WithinReachAreInTheLargestHoleWhereThereIsLittleRoomAbove) {
  const auto memory = mapped({range_of({0x10000}, 100 * kMiB), range_of({kGiB}, 127 * kTiB)});
  const auto place = place_within_reach(memory, {kGiB + kMiB}, kPageSize, kNoHeap);
  ASSERT_TRUE(place);
  EXPECT_TRUE(is_free(memory, *place - 256 * kMiB, 512 * kMiB));
  EXPECT_FALSE(place_within_reach(memory, {64 * kTiB}, kPageSize, kNoHeap));
}

TEST(OwnPlaces, WithinReachAreNotInTheWayOfTheHeap) {
  const auto place = place_within_reach(usual(), {0x555555560000}, kPageSize, kHeapEnd);
  ASSERT_TRUE(place);
  EXPECT_LT(*place, GuestAddress{0x555555554000 - 512 * kMiB});
  // A program that does not move, and begins 4 MiB above nothing.
  const auto memory = mapped({range_of({0x400000}, kMiB)});
  const auto low = place_within_reach(memory, {0x401000}, kPageSize, {0x501000});
  ASSERT_TRUE(low);
  EXPECT_LT(low->value, 0x400000u);
  const auto first = mapped({range_of({0x10000}, kMiB)});
  EXPECT_FALSE(place_within_reach(first, {0x11000}, kPageSize, {0x111000}));
}

TEST(OwnPlaces, WithinReachAreLeftOfWhatEndsMemory) {
  const auto memory = mapped({range_of({0x10000}, kMiB)});
  const auto place = place_within_reach(memory, {0x10100}, kPageSize, kNoHeap);
  ASSERT_TRUE(place);
  EXPECT_LT(place->value, 2 * kGiB);
  EXPECT_TRUE(is_free(memory, *place, kPageSize));
}

}  // namespace
}  // namespace rchk::record
