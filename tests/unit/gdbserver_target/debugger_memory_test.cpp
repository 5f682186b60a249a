#include "gdbserver/target/debugger_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rchk::target {
namespace {

using ::testing::Each;

constexpr uint64_t kMost = 64 << 20;

snapshot::Mapping mapping_at(GuestAddress begin, uint64_t size) {
  snapshot::Mapping mapping;
  mapping.range = range_of(begin, size);
  mapping.protection = snapshot::kRead;
  return mapping;
}

class DebuggerMemoryTest : public ::testing::Test {
 protected:
  GuestAddress allocate(uint64_t size_bytes) {
    const auto address = memory.allocate(size_bytes, snapshot::kRead | snapshot::kWrite, space);
    EXPECT_TRUE(address) << address.error().message();
    return address.value_or(GuestAddress{});
  }

  DebuggerMemory memory;
  snapshot::AddressSpace space;
};

TEST_F(DebuggerMemoryTest, BeginsAsZerosAndKeepsWhatIsWritten) {
  const GuestAddress address = allocate(100);
  Bytes read(2 * kPageSize, 1);
  // A piece is a whole page.
  EXPECT_EQ(kPageSize, memory.read(address, read));
  EXPECT_THAT(std::span(read).first(kPageSize), Each(0));
  const Bytes text{'t', 'e', 'x', 't'};
  EXPECT_TRUE(memory.write(address + 10, text));
  Bytes part(4);
  EXPECT_EQ(4u, memory.read(address + 10, part));
  EXPECT_EQ(text, part);
}

TEST_F(DebuggerMemoryTest, RefusesWhatLiesOutsideOfAPiece) {
  const GuestAddress address = allocate(kPageSize);
  const Bytes two(2, 1);
  EXPECT_FALSE(memory.write(address + (kPageSize - 1), two));
  EXPECT_FALSE(memory.write(address + kPageSize, two));
  Bytes part(2);
  EXPECT_EQ(0u, memory.read(address + kPageSize, part));
  EXPECT_EQ(1u, memory.read(address + (kPageSize - 1), part));
  EXPECT_FALSE(memory.holds({address.value - 1}));
  EXPECT_FALSE(memory.deallocate(address + 1));
}

TEST_F(DebuggerMemoryTest, PlacesPiecesWhereNothingElseIs) {
  const GuestAddress first = allocate(1);
  ASSERT_TRUE(memory.deallocate(first));
  // The program's mappings there, with a gap that is too small.
  space.map(mapping_at(first, kPageSize));
  space.map(mapping_at(first + 2 * kPageSize, kPageSize));
  const GuestAddress large = allocate(2 * kPageSize), small = allocate(kPageSize);
  EXPECT_EQ(first + 3 * kPageSize, large);
  EXPECT_EQ(first + kPageSize, small);
  EXPECT_EQ(first + 5 * kPageSize, allocate(1));
}

TEST_F(DebuggerMemoryTest, HasALimit) {
  for (const uint64_t size : {uint64_t{0}, kMost + 1, UINT64_MAX}) {
    EXPECT_FALSE(memory.allocate(size, snapshot::kRead, space)) << size;
  }
  const GuestAddress all = allocate(kMost);
  EXPECT_FALSE(memory.allocate(1, snapshot::kRead, space));
  ASSERT_TRUE(memory.deallocate(all));
  allocate(1);
}

TEST_F(DebuggerMemoryTest, IsShownWhereTheProgramHasNothing) {
  const GuestAddress first = allocate(kPageSize), second = allocate(kPageSize);
  space.map(mapping_at(second, kPageSize));
  memory.add_to(space);
  ASSERT_NE(nullptr, space.find(first));
  EXPECT_TRUE(space.find(first)->writable());
  EXPECT_FALSE(space.find(second)->writable());
}

}  // namespace
}  // namespace rchk::target
