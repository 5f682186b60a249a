#include "engine/record/scratch.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rchk::record {
namespace {

using syscalls::BufferUse;
using syscalls::CallBuffers;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr AddressRange kRegion = range_of({0x100000}, 0x10000);

std::shared_ptr<const AddressRange> region() {
  return std::make_shared<const AddressRange>(kRegion);
}

CallBuffers two_buffers() {
  CallBuffers buffers;
  buffers.buffers = {{range_of({0x5ff8}, 16), BufferUse::kChanged},
                     {range_of({0x7010}, 5000), BufferUse::kCounted}};
  buffers.pointers = {{0, 1, 0, 0}, {1, std::nullopt, 0, 8}};
  return buffers;
}

TEST(ScratchTest, PiecesLieInTheirPagesAsTheGuestsOwn) {
  const ScratchUse use = laid_out(two_buffers(), region());
  ASSERT_EQ(use.pieces.size(), 2u);
  EXPECT_EQ(use.pieces[0].scratch, GuestAddress{0x100ff8});
  EXPECT_EQ(use.pieces[1].scratch, GuestAddress{0x101010});
  EXPECT_EQ(room_for(two_buffers()), 0x3000u);
}

TEST(ScratchTest, ARegionAsLargeAsRoomForIsLargeEnough) {
  for (uint64_t offset = 0; offset < kPageSize; offset += 61) {
    CallBuffers buffers = two_buffers();
    for (auto& buffer : buffers.buffers) {
      buffer.range = range_of(buffer.range.begin + offset, buffer.range.size() + offset * 3);
      offset += 7;
    }
    const AddressRange exact = range_of(kRegion.begin, room_for(buffers));
    const ScratchUse use = laid_out(buffers, std::make_shared<const AddressRange>(exact));
    const ScratchPiece& last = use.pieces.back();
    EXPECT_LE(last.scratch + last.own.size(), exact.end);
    EXPECT_LE(use.pieces[0].scratch + use.pieces[0].own.size(), last.scratch);
  }
}

TEST(ScratchTest, ArgumentsPointToScratchAndBack) {
  const ScratchUse use = laid_out(two_buffers(), region());
  Registers own;
  own.rdi = 3;
  own.rsi = 0x5ff8;
  own.rdx = 16;
  Registers registers = own;
  point_arguments(use, registers);
  EXPECT_EQ(registers.rsi, 0x100ff8u);
  EXPECT_EQ(registers.rdi, 3u);
  registers.rax = 5;
  restore_arguments(use, own, registers);
  own.rax = 5;
  EXPECT_EQ(registers, own);
}

TEST(ScratchTest, WordsInBuffersPointToScratch) {
  ScratchUse use = laid_out(two_buffers(), region());
  use.pieces[0].given.resize(16);
  point_words(use, 0);
  uint64_t word = 0;
  std::memcpy(&word, use.pieces[0].given.data() + 8, sizeof(word));
  EXPECT_EQ(word, 0x101010u);
}

TEST(ScratchTest, OnlyWhatChangedIsBroughtBack) {
  const Bytes given{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EXPECT_THAT(changed_runs({0x5000}, given, given), IsEmpty());
  Bytes now = given;
  now[1] = 100;
  now[3] = 101;  // near: one run
  now[11] = 102;
  const auto runs = changed_runs({0x5000}, given, now);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].address, GuestAddress{0x5001});
  EXPECT_EQ(runs[0].bytes, (Bytes{100, 2, 101}));
  EXPECT_EQ(runs[1].address, GuestAddress{0x500b});
  EXPECT_EQ(runs[1].bytes, Bytes{102});
}

TEST(ScratchTest, EachFieldOfAnArrayIsARunOfItsOwn) {
  struct Polled {  // struct pollfd
    int32_t descriptor;
    int16_t events, revents;
  };
  Polled given[2] = {{3, 1, 0}, {4, 1, 0}}, now[2] = {{3, 1, 1}, {4, 1, 1}};
  const auto bytes_of = [](const Polled(&array)[2]) {
    return std::span(reinterpret_cast<const uint8_t*>(array), sizeof(array));
  };
  EXPECT_EQ(changed_runs({0x5000}, bytes_of(given), bytes_of(now)).size(), 2u);
}

TEST(ScratchTest, ThePoolGivesTheSmallestThatIsFree) {
  ScratchPool pool;
  EXPECT_EQ(pool.take(1), nullptr);
  const AddressRange small = range_of({0x10000}, 0x1000), large = range_of({0x20000}, 0x4000);
  pool.add(large);
  pool.add(small);
  auto first = pool.take(0x1000);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, small);
  auto second = pool.take(0x1000);
  ASSERT_TRUE(second);
  EXPECT_EQ(*second, large);
  EXPECT_EQ(pool.take(1), nullptr);
  EXPECT_EQ(pool.largest_free(), std::nullopt);
  first.reset();
  EXPECT_EQ(pool.take(0x1001), nullptr);
  EXPECT_EQ(pool.largest_free(), small);
}

TEST(ScratchTest, ThePoolKnowsWhatLiesWhere) {
  ScratchPool pool;
  const AddressRange one = range_of({0x10000}, 0x1000), two = range_of({0x20000}, 0x4000);
  pool.add(one);
  pool.add(two);
  const auto used = pool.take(0x2000);
  EXPECT_THAT(pool.all(), ElementsAre(one, two));
  EXPECT_THAT(pool.free_in(range_of({0x10fff}, 1)), ElementsAre(one));
  EXPECT_THAT(pool.free_in(range_of({0x11000}, 0x20000)), IsEmpty());
  EXPECT_TRUE(pool.uses_any_in(range_of({0x11000}, 0x20000)));
  EXPECT_FALSE(pool.uses_any_in(one));
  pool.remove(one);
  EXPECT_THAT(pool.all(), ElementsAre(two));
}

}  // namespace
}  // namespace rchk::record
