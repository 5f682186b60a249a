// Reading, comparing and summing up the memory of real processes.

#include <chrono>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "snapshot/checksum.h"
#include "snapshot/memory_cost.h"
#include "snapshot/memory_reader.h"
#include "snapshot/page_compare.h"
#include "snapshot/pagemap.h"
#include "snapshot/range_set.h"
#include "test_guest.h"

namespace rchk::snapshot {
namespace {

using test::at_page;
using test::Guest;
using test::GuestSide;
using test::page;
using test::page_range;

TEST(RangeSet, Normalizes) {
  const RangeSet set = normalized(
      {page_range(4, 2), page_range(0, 1), page_range(1, 1), page_range(5, 3), page_range(20, 0)});
  EXPECT_EQ(set, (RangeSet{page_range(0, 2), page_range(4, 4)}));
  EXPECT_EQ(total_pages(set), 6u);
}

TEST(RangeSet, CombinesSets) {
  const RangeSet a{page_range(0, 10), page_range(20, 10)};
  const RangeSet b{page_range(5, 2), page_range(8, 15), page_range(40, 1)};
  EXPECT_EQ(intersection(a, b), (RangeSet{page_range(5, 2), page_range(8, 2), page_range(20, 3)}));
  EXPECT_EQ(difference(a, b), (RangeSet{page_range(0, 5), page_range(7, 1), page_range(23, 7)}));
  for (const AddressRange& range : {page_range(5, 17), page_range(10, 10), page_range(0, 40),
                                    page_range(29, 1), page_range(30, 2), page_range(3, 0)}) {
    EXPECT_EQ(part_within(a, range), intersection(a, normalized({range}))) << range.begin.value;
  }
  EXPECT_TRUE(contains(a, page(29)));
  EXPECT_FALSE(contains(a, page(30)));
  EXPECT_FALSE(contains({}, page(0)));
}

// Pages 0 and 1 hold ones, 2 is PROT_NONE and holds twos, 3 is not mapped, 4 holds fours.
void lay_out(GuestSide& side) {
  side.map(0, 5);
  for (int i = 0; i < 5; ++i) std::memset(at_page(i), i < 2 ? 1 : i, kPageSize);
  mprotect(at_page(2), kPageSize, PROT_NONE);
  munmap(at_page(3), kPageSize);
}

TEST(MemoryReader, ReadsPartsAndProtectedPages) {
  Guest guest([](GuestSide& side) {
    lay_out(side);
    side.tell(0);
  });
  guest.hear();
  const auto reader = MemoryReader::open(guest.pid());
  ASSERT_TRUE(reader);
  std::vector<uint8_t> bytes(5 * kPageSize, 0xff);
  EXPECT_EQ(reader->read(page(0) + 8, bytes).value(), 3 * kPageSize - 8);
  EXPECT_EQ(bytes[2 * kPageSize], 2);
  const auto exact = reader->read_exactly(page(0), bytes);
  ASSERT_FALSE(exact);
  EXPECT_NE(exact.error().context.find(fmt::format("{}", page(3))), std::string::npos);
  EXPECT_EQ(reader->read_or_zero(page(0), bytes).value(), std::vector{page(3)});
  EXPECT_EQ(bytes[3 * kPageSize], 0);
  EXPECT_EQ(bytes[4 * kPageSize], 4);
  const std::vector<GuestAddress> pages{page(4), page(2), page(3), page(0), page(1)};
  EXPECT_EQ(reader->read_pages(pages, bytes).value(), std::vector<size_t>{2});
  for (const auto& [index, value] : {std::pair{0, 4}, {1, 2}, {2, 0}, {3, 1}, {4, 1}}) {
    EXPECT_EQ(bytes[index * kPageSize + 9], value) << index;
  }
}

TEST(MemoryReader, KeepsPagesSharedWithForks) {
  Guest guest([](GuestSide& side) {
    lay_out(side);
    side.fork_reference();
  });
  const int fork = static_cast<int>(guest.hear());
  const auto reader = MemoryReader::open(fork);
  std::vector<uint8_t> bytes(3 * kPageSize);
  ASSERT_TRUE(reader && reader->read_exactly(page(0), bytes));
  std::vector<PageEntry> entries;
  ASSERT_TRUE(Pagemap::open(fork)->read(page_range(0, 3), entries));
  for (const PageEntry entry : entries) EXPECT_TRUE(entry.present() && !entry.exclusive());
}

TEST(MemoryReader, SaysThatAProcessIsGone) {
  Guest guest([](GuestSide& side) { side.tell(0); });
  guest.hear();
  const int pid = guest.pid();
  const auto reader = MemoryReader::open(pid);
  ASSERT_TRUE(reader);
  guest.end();
  uint8_t byte;
  EXPECT_EQ(reader->read(page(0), {&byte, 1}).error().kind, ErrorKind::kGone);
  EXPECT_EQ(MemoryReader::open(pid).error().kind, ErrorKind::kGone);
}

TEST(ComparePages, TellsFirstWords) {
  Guest guest([](GuestSide& side) {
    side.map(0, 8);
    std::memset(at_page(0), 1, 8 * kPageSize);
    side.fork_reference();
    at_page(2)[17] = 3;
    std::memset(at_page(5), 2, kPageSize);
    munmap(at_page(7), kPageSize);
    side.tell(0);
  });
  const int fork = static_cast<int>(guest.hear());
  guest.go_and_hear();
  const std::vector<GuestAddress> pages{page(0), page(2), page(5), page(7)};
  const auto all = compare_pages(guest.pid(), fork, pages, 10);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ((*all)[0].page, page(2));
  EXPECT_EQ((*all)[0].different_words, 1u);
  const WordDifference word{page(2) + 16, 0x0101010101010301, 0x0101010101010101};
  EXPECT_EQ((*all)[0].first_words, std::vector{word});
  EXPECT_EQ((*all)[1].different_words, 512u);
  EXPECT_EQ((*all)[1].first_words.size(), PageDifference::kWordsTold);
  EXPECT_FALSE((*all)[2].readable_a);
  EXPECT_TRUE((*all)[2].readable_b);
  EXPECT_EQ(compare_pages(guest.pid(), fork, pages, 1)->size(), 1u);
}

AddressSpace area(uint64_t pages) {
  AddressSpace space;
  space.map({.range = page_range(0, pages), .protection = kRead | kWrite});
  return space;
}

TEST(Checksum, DoesNotDependOnPresenceOrBorders) {
  const auto body = [](bool touch) {
    return [touch](GuestSide& side) {
      side.map(0, 1024);
      at_page(3)[7] = 1;
      at_page(700)[0] = 2;
      if (touch) std::memset(at_page(10), 0, 500 * kPageSize);
      side.tell(0);
      at_page(700)[1] = 3;
      side.tell(0);
    };
  };
  Guest plain(body(false));
  Guest touched(body(true));
  plain.hear();
  touched.hear();
  const auto expected = checksum_memory(plain.pid(), area(1024));
  ASSERT_TRUE(expected);
  EXPECT_EQ(expected->size(), 2u);
  AddressSpace split;
  split.map({.range = page_range(0, 5), .protection = kRead});
  split.map({.range = page_range(5, 1019), .protection = kRead | kWrite});
  EXPECT_EQ(first_difference(*expected, checksum_memory(touched.pid(), split).value()),
            std::nullopt);
  touched.go_and_hear();
  const auto changed = checksum_memory(touched.pid(), area(1024));
  ASSERT_TRUE(changed);
  EXPECT_TRUE(first_difference(*expected, *changed)->contains(page(700)));
}

TEST(Checksum, IsTheSameWhereTwoThreadsTakeIt) {
  constexpr uint64_t kPages = 8192;
  Guest guest([](GuestSide& side) {
    side.map(100, kPages);
    std::mt19937_64 random(1);
    for (int i = 0; i < 6000; ++i) at_page(100 + random() % kPages)[random() % kPageSize] = 7;
    std::memset(at_page(5000), 0, 700 * kPageSize);
    side.tell(0);
  });
  guest.hear();
  const int cpus[] = {0, 1};
  for (const uint64_t first : {100, 101, 2000}) {
    AddressSpace space;
    space.map({.range = page_range(first, 3000), .protection = kRead});
    space.map(
        {.range = page_range(first + 3100, 100 + kPages - first - 3100), .protection = kRead});
    const auto expected = checksum_memory(guest.pid(), space);
    ASSERT_TRUE(expected);
    const auto found = checksum_memory(guest.pid(), space, cpus);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, *expected);
    EXPECT_GT(found->size(), 16u);
  }
}

TEST(Checksum, DifferenceNamesAMissingRun) {
  const RunChecksum low{page_range(0, 256), 1};
  const RunChecksum high{page_range(256, 256), 2};
  EXPECT_EQ(first_difference({low, high}, {high}), low.range);
  EXPECT_EQ(first_difference({low}, {low, high}), high.range);
  EXPECT_EQ(first_difference({}, {}), std::nullopt);
}

TEST(Checksum, LeavesUntouchedGigabytesAlone) {
  constexpr uint64_t kPages = uint64_t{1} << 26;  // 256 GiB
  Guest guest([](GuestSide& side) {
    side.map(0, kPages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    at_page(kPages - 1)[0] = 1;
    side.tell(0);
  });
  guest.hear();
  const auto pagemap = Pagemap::open(guest.pid());
  ASSERT_TRUE(pagemap);
  if (!pagemap->can_scan()) GTEST_SKIP() << "needs PAGEMAP_SCAN";
  const auto sums = checksum_memory(guest.pid(), area(kPages));
  ASSERT_TRUE(sums);
  EXPECT_EQ(sums->size(), 1u);
  EXPECT_EQ(total_pages({pagemap->populated(page_range(0, kPages))->at(0).range}), 1u);
}

TEST(Checksum, IsFast) {
  constexpr uint64_t kPages = 32768;  // 128 MiB
  Guest guest([](GuestSide& side) {
    side.map(0, kPages);
    std::memset(at_page(0), 5, kPages * kPageSize);
    side.tell(0);
  });
  guest.hear();
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(checksum_memory(guest.pid(), area(kPages)));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 2.0) << "a fortieth of the usual speed";
  RecordProperty("gigabytes_per_second",
                 fmt::format("{:.2f}", kPages * kPageSize / took.count() / 1e9));
}

TEST(ForkCost, ParsesTheKernelsFigures) {
  const ForkCost cost = parse_fork_cost(
      "0-1 ---p 00000000 00:00 0 [rollup]\nPrivate_Dirty:  12 kB\nAnonymous:  40 kB\n"
      "SwapPss: 7 kB\nSwap:  8 kB\n",
      "Name:\tx\nVmPTE:\t   20 kB\n");
  EXPECT_EQ(cost.page_table_bytes, 20u << 10);
  EXPECT_EQ(cost.at_most_bytes, 48u << 10);
  EXPECT_EQ(cost.exclusive_bytes, 32u << 10);
  EXPECT_EQ(parse_fork_cost("", "").at_most_bytes, 0u);
}

TEST(ForkCost, GrowsWithWhatTheOriginalWrites) {
  Guest guest([](GuestSide& side) {
    side.map(0, 1024);
    std::memset(at_page(0), 1, 1024 * kPageSize);
    side.fork_reference();
    std::memset(at_page(0), 2, 512 * kPageSize);
    side.tell(0);
  });
  const int fork = static_cast<int>(guest.hear());
  const auto before = fork_cost(fork);
  guest.go_and_hear();
  const auto after = fork_cost(fork);
  ASSERT_TRUE(before && after);
  EXPECT_GE(after->exclusive_bytes - before->exclusive_bytes, 512 * kPageSize);
  EXPECT_GE(before->at_most_bytes, 1024 * kPageSize);
  guest.end();
  EXPECT_EQ(fork_cost(1 << 30).error().kind, ErrorKind::kGone);
}

TEST(PrivatePages, GrowWithNewPagesAndNotWithCopies) {
  constexpr uint64_t kMostOff = 128;  // the kernel sums up what its processors have counted
  Guest guest([](GuestSide& side) {
    side.map(0, 2048);
    side.tell(0);
    std::memset(at_page(0), 1, 2048 * kPageSize);
    side.fork_reference();
    side.tell(0);
    std::memset(at_page(0), 2, 2048 * kPageSize);
    side.tell(0);
  });
  guest.hear();
  const uint64_t begin = private_pages(guest.pid());
  guest.go_and_hear();
  const uint64_t grown = private_pages(guest.pid());
  guest.go_and_hear();
  const uint64_t copied = private_pages(guest.pid());
  EXPECT_NEAR(static_cast<double>(grown - begin), 2048, kMostOff);
  EXPECT_NEAR(static_cast<double>(copied), static_cast<double>(grown), kMostOff);
  guest.end();
  EXPECT_EQ(private_pages(1 << 30), 0u);
}

}  // namespace
}  // namespace rchk::snapshot
