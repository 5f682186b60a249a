#include "engine/replay/stored_ahead.h"

#include <gtest/gtest.h>

#include <vector>

namespace rchk::replay {
namespace {

Registers registers(uint64_t rdi, uint64_t rsi, uint64_t rcx) {
  Registers result;
  result.rdi = rdi;
  result.rsi = rsi;
  result.rcx = rcx;
  result.rax = 0x8877665544332211;
  return result;
}

// Memory in which each byte is the low byte of its address.
size_t read(GuestAddress address, std::span<uint8_t> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(address.value + i);
  return bytes.size();
}

std::vector<uint8_t> stored(const StringStores& stores, uint64_t address, size_t count) {
  std::vector<uint8_t> bytes(count);
  EXPECT_EQ(count, stores.bytes({address}, bytes, read));
  return bytes;
}

TEST(StringStores, OfCopies) {
  const std::vector<uint8_t> movsb{0xf3, 0xa4, 0x90};
  const auto stores = StringStores::of(movsb, registers(0x5000, 0x1030, 16));
  ASSERT_TRUE(stores);
  EXPECT_EQ(range_of({0x5000}, 16), stores->range());
  EXPECT_EQ((std::vector<uint8_t>{0x33, 0x34}), stored(*stores, 0x5003, 2));
}

TEST(StringStores, OfCopiesThatGoDown) {
  const std::vector<uint8_t> movsq{0xf3, 0x48, 0xa5};
  Registers down = registers(0x5038, 0x1038, 3);
  down.rflags = 1 << 10;
  const auto stores = StringStores::of(movsq, down);
  ASSERT_TRUE(stores);
  EXPECT_EQ(range_of({0x5028}, 24), stores->range());
  EXPECT_EQ((std::vector<uint8_t>{0x28, 0x29}), stored(*stores, 0x5028, 2));
}

TEST(StringStores, OfFills) {
  const std::vector<uint8_t> stosd{0xf3, 0xab};
  const auto stores = StringStores::of(stosd, registers(0x5000, 0, 4));
  ASSERT_TRUE(stores);
  EXPECT_EQ(range_of({0x5000}, 16), stores->range());
  EXPECT_EQ((std::vector<uint8_t>{0x22, 0x33, 0x44, 0x11}), stored(*stores, 0x5005, 4));
}

TEST(StringStores, NothingOfOthers) {
  for (const std::vector<uint8_t>& code :
       std::vector<std::vector<uint8_t>>{{0xa4},              // no prefix
                                         {0xf3, 0xa6},        // compares
                                         {0xf3, 0x64, 0xa4},  // reads elsewhere
                                         {0xf3, 0x67, 0xaa},  // 32-bit addresses
                                         {0xf3}}) {
    EXPECT_FALSE(StringStores::of(code, registers(0x5000, 0x1000, 4)));
  }
  EXPECT_FALSE(StringStores::of(std::vector<uint8_t>{0xf3, 0xa4}, registers(0x5000, 0x1000, 0)));
}

}  // namespace
}  // namespace rchk::replay
