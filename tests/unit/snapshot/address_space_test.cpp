#include "snapshot/address_space.h"

#include <array>
#include <optional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace rchk::snapshot {
namespace {

using ::testing::HasSubstr;

AddressRange pages(uint64_t first, uint64_t end) {
  return {{first * kPageSize}, {end * kPageSize}};
}

Mapping file_mapping(AddressRange range, uint64_t offset_pages) {
  Mapping mapping;
  mapping.range = range;
  mapping.protection = kRead | kExecute;
  mapping.backing = FileBacking{FileId{7}, offset_pages * kPageSize};
  mapping.name = "/lib/x.so";
  return mapping;
}

Mapping anonymous(AddressRange range, uint8_t protection = kRead | kWrite) {
  Mapping mapping;
  mapping.range = range;
  mapping.protection = protection;
  return mapping;
}

uint64_t offset_pages_at(const AddressSpace& space, uint64_t page) {
  const Mapping* mapping = space.find({page * kPageSize});
  EXPECT_NE(mapping, nullptr) << "page " << page;
  if (mapping == nullptr || !mapping->backing) return ~uint64_t{0};
  return mapping->backing->offset_bytes / kPageSize + page - mapping->range.begin.value / kPageSize;
}

TEST(AddressSpace, KnowsWhetherAnythingIsShared) {
  AddressSpace space;
  Mapping mapping = file_mapping(pages(10, 20), 0);
  space.map(mapping);
  EXPECT_FALSE(space.has_shared());
  mapping.shared = true;
  mapping.range = pages(12, 18);
  space.map(mapping);
  EXPECT_TRUE(space.has_shared());
  space.unmap(pages(14, 15));  // two are left
  space.unmap(pages(12, 14));
  EXPECT_TRUE(space.has_shared());
  space.remap(pages(15, 18), {30 * kPageSize}, 2 * kPageSize);
  EXPECT_TRUE(space.has_shared());
  space.protect(pages(30, 31), kRead);
  space.map(anonymous(pages(31, 32)));
  EXPECT_TRUE(space.has_shared());
  space.unmap(pages(0, 31));
  EXPECT_FALSE(space.has_shared());
  space.map(mapping);
  space.clear();
  EXPECT_FALSE(space.has_shared());
  EXPECT_EQ(space, AddressSpace());
}

TEST(AddressSpace, FindsNothingInAnEmptyOne) {
  const AddressSpace space;
  EXPECT_EQ(space.find({0}), nullptr);
  EXPECT_TRUE(space.overlapping(pages(0, 100)).empty());
}

TEST(AddressSpace, FindsByAnyAddressInsideAndNoneOutside) {
  AddressSpace space;
  space.map(file_mapping(pages(10, 20), 0));
  EXPECT_EQ(space.find({10 * kPageSize - 1}), nullptr);
  EXPECT_NE(space.find({10 * kPageSize}), nullptr);
  EXPECT_NE(space.find({20 * kPageSize - 1}), nullptr);
  EXPECT_EQ(space.find({20 * kPageSize}), nullptr);
}

TEST(AddressSpace, MappingOverTheMiddleCutsBothSidesAndKeepsFileOffsets) {
  AddressSpace space;
  space.map(file_mapping(pages(10, 20), 3));
  space.map(anonymous(pages(12, 14)));
  ASSERT_EQ(space.mappings().size(), 3u);
  EXPECT_EQ(offset_pages_at(space, 11), 4u);
  EXPECT_FALSE(space.find({12 * kPageSize})->backing);
  EXPECT_EQ(offset_pages_at(space, 14), 7u);
  EXPECT_EQ(offset_pages_at(space, 19), 12u);
}

TEST(AddressSpace, UnmapRoundsToWholePagesLikeTheKernel) {
  AddressSpace space;
  space.map(anonymous(pages(10, 20)));
  space.unmap({{12 * kPageSize}, {12 * kPageSize + 1}});
  EXPECT_NE(space.find({11 * kPageSize}), nullptr);
  EXPECT_EQ(space.find({12 * kPageSize + 4000}), nullptr);
  EXPECT_NE(space.find({13 * kPageSize}), nullptr);
}

TEST(AddressSpace, ProtectSplitsAndSkipsHoles) {
  AddressSpace space;
  space.map(anonymous(pages(10, 12)));
  space.map(anonymous(pages(14, 20)));
  space.protect(pages(11, 15), kRead);
  EXPECT_TRUE(space.find({10 * kPageSize})->writable());
  EXPECT_FALSE(space.find({11 * kPageSize})->writable());
  EXPECT_EQ(space.find({12 * kPageSize}), nullptr);
  EXPECT_FALSE(space.find({14 * kPageSize})->writable());
  EXPECT_TRUE(space.find({15 * kPageSize})->writable());
}

TEST(AddressSpace, RemapGrowsInPlace) {
  AddressSpace space;
  space.map(file_mapping(pages(10, 12), 1));
  space.remap(pages(10, 12), {10 * kPageSize}, 5 * kPageSize);
  ASSERT_EQ(space.mappings().size(), 1u);
  EXPECT_EQ(space.find({10 * kPageSize})->range, pages(10, 15));
  EXPECT_EQ(offset_pages_at(space, 14), 5u);
}

TEST(AddressSpace, RemapShrinksInPlace) {
  AddressSpace space;
  space.map(anonymous(pages(10, 20)));
  space.remap(pages(10, 20), {10 * kPageSize}, 3 * kPageSize);
  ASSERT_EQ(space.mappings().size(), 1u);
  EXPECT_EQ(space.find({10 * kPageSize})->range, pages(10, 13));
}

TEST(AddressSpace, RemapMovesAPartOverWhatWasThere) {
  AddressSpace space;
  space.map(file_mapping(pages(10, 20), 0));
  space.map(anonymous(pages(30, 40)));
  space.remap(pages(12, 14), {31 * kPageSize}, 2 * kPageSize);
  EXPECT_EQ(space.find({12 * kPageSize}), nullptr);
  EXPECT_EQ(offset_pages_at(space, 14), 4u);
  EXPECT_EQ(offset_pages_at(space, 31), 2u);
  EXPECT_EQ(offset_pages_at(space, 32), 3u);
  EXPECT_FALSE(space.find({33 * kPageSize})->backing);
}

TEST(AddressSpace, RemapOfSizeZeroDuplicatesASharedMapping) {
  AddressSpace space;
  Mapping shared = file_mapping(pages(10, 12), 5);
  shared.shared = true;
  space.map(shared);
  space.remap(pages(11, 11), {50 * kPageSize}, kPageSize);
  EXPECT_EQ(offset_pages_at(space, 11), 6u);
  EXPECT_EQ(offset_pages_at(space, 50), 6u);
}

TEST(AddressSpace, OverlappingGivesWholeMappingsInOrder) {
  AddressSpace space;
  space.map(anonymous(pages(1, 3)));
  space.map(anonymous(pages(5, 7)));
  space.map(anonymous(pages(9, 11)));
  const std::vector<Mapping> found = space.overlapping(pages(2, 6));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].range, pages(1, 3));
  EXPECT_EQ(found[1].range, pages(5, 7));
  EXPECT_TRUE(space.overlapping(pages(3, 5)).empty());
}

// A slow model: one entry for each page.
struct PageModel {
  struct Page {
    uint8_t protection;
    uint64_t offset_pages;
    bool operator==(const Page&) const = default;
  };
  std::array<std::optional<Page>, 64> pages;
};

TEST(AddressSpace, AgreesWithAModelOfSinglePages) {
  std::mt19937 random(20240607);
  const auto below = [&](uint64_t limit) { return random() % limit; };
  for (int round = 0; round < 200; ++round) {
    AddressSpace space;
    PageModel model;
    for (int step = 0; step < 40; ++step) {
      const uint64_t first = below(50);
      const uint64_t count = 1 + below(10);
      const auto protection = static_cast<uint8_t>(below(8));
      const AddressRange range = pages(first, first + count);
      switch (below(4)) {
        case 0: {
          const uint64_t offset = below(100);
          Mapping mapping = file_mapping(range, offset);
          mapping.protection = protection;
          space.map(mapping);
          for (uint64_t i = 0; i < count; ++i) {
            model.pages[first + i] = PageModel::Page{protection, offset + i};
          }
          break;
        }
        case 1:
          space.unmap(range);
          for (uint64_t i = 0; i < count; ++i) model.pages[first + i].reset();
          break;
        case 2:
          space.protect(range, protection);
          for (uint64_t i = 0; i < count; ++i) {
            if (model.pages[first + i]) model.pages[first + i]->protection = protection;
          }
          break;
        case 3: {
          const uint64_t to = below(50);
          if (to < first + count && first < to + count) break;  // refused by the kernel
          space.remap(range, {to * kPageSize}, count * kPageSize);
          for (uint64_t i = 0; i < count; ++i) {
            model.pages[to + i] = model.pages[first + i];
            model.pages[first + i].reset();
          }
          break;
        }
      }
      for (uint64_t page = 0; page < model.pages.size(); ++page) {
        const Mapping* mapping = space.find({page * kPageSize});
        ASSERT_EQ(mapping != nullptr, model.pages[page].has_value()) << "page " << page;
        if (mapping == nullptr) continue;
        EXPECT_EQ(mapping->protection, model.pages[page]->protection);
        EXPECT_EQ(offset_pages_at(space, page), model.pages[page]->offset_pages);
      }
      for (const auto& [begin, mapping] : space.mappings()) {
        ASSERT_EQ(begin, mapping.range.begin);
        ASSERT_FALSE(mapping.range.empty());
      }
    }
  }
}

TEST(ProcMaps, ParsesEveryFieldOfALine) {
  const auto entries = parse_proc_maps(
      "55d0c8a00000-55d0c8a02000 r-xp 00001000 fe:01 1835024                    /usr/bin/a b\n"
      "7ffd1b5d4000-7ffd1b5f5000 rw-p 00000000 00:00 0                          [stack]\n"
      "7f0000000000-7f0000001000 -w-s 00000000 00:01 12 /dev/zero (deleted)\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
      "7f0000002000-7f0000003000 ---p 00000000 00:00 0 \n");
  ASSERT_TRUE(entries) << entries.error().message();
  ASSERT_EQ(entries->size(), 5u);
  const ProcMapsEntry& first = (*entries)[0];
  EXPECT_EQ(first.range, (AddressRange{{0x55d0c8a00000}, {0x55d0c8a02000}}));
  EXPECT_EQ(first.protection, kRead | kExecute);
  EXPECT_FALSE(first.shared);
  EXPECT_EQ(first.offset_bytes, 0x1000u);
  EXPECT_EQ(first.device, makedev(0xfe, 1));
  EXPECT_EQ(first.inode, 1835024u);
  EXPECT_EQ(first.name, "/usr/bin/a b");
  EXPECT_EQ((*entries)[1].name, "[stack]");
  EXPECT_TRUE((*entries)[2].shared);
  EXPECT_EQ((*entries)[2].protection, kWrite);
  EXPECT_EQ((*entries)[2].name, "/dev/zero (deleted)");
  EXPECT_EQ((*entries)[3].range.begin.value, 0xffffffffff600000u);
  EXPECT_EQ((*entries)[4].name, "");
  EXPECT_EQ((*entries)[4].protection, kNone);
}

TEST(ProcMaps, DecodesANewlineInAPath) {
  const auto entries = parse_proc_maps("1000-2000 r--p 00000000 00:01 12 /tmp/a\\012b");
  ASSERT_TRUE(entries);
  EXPECT_EQ(entries->front().name, "/tmp/a\nb");
}

TEST(ProcMaps, RefusesWhatItDoesNotUnderstandAndNamesTheLine) {
  const std::string good = "1000-2000 r--p 00000000 00:01 12 /tmp/a\n";
  for (const char* bad :
       {"", "x", "1000", "1000-", "1000-2000", "2000-1000 r--p 0 0:0 0", "1000-2000 rq-p 0 0:0 0",
        "1000-2000 r--z 0 0:0 0", "1000-2000 r--p", "1000-2000 r--p 0", "1000-2000 r--p 0 0",
        "1000-2000 r--p 0 0:0", "1000-2000 r--p 0 0:0 0x", "1000-1000 r--p 0 0:0 0",
        "11112222333344445-2000 r--p 0 0:0 0"}) {
    const auto entries = parse_proc_maps(good + bad + "\n");
    ASSERT_FALSE(entries) << bad;
    EXPECT_THAT(entries.error().message(), HasSubstr("line 2"));
  }
}

TEST(ProcMaps, ReadsTheMapsOfThisProcess) {
  const auto entries = read_proc_maps(getpid());
  ASSERT_TRUE(entries) << entries.error().message();
  const GuestAddress here{reinterpret_cast<uint64_t>(&read_proc_maps)};
  bool found = false;
  for (const ProcMapsEntry& entry : *entries) {
    if (!entry.range.contains(here)) continue;
    found = true;
    EXPECT_NE(entry.protection & kExecute, 0);
    EXPECT_THAT(entry.name, HasSubstr("unit_snapshot"));
  }
  EXPECT_TRUE(found);
}

TEST(ProcMaps, SaysGoneForAProcessThatDoesNotExist) {
  const auto entries = read_proc_maps(0x7ffffffe);
  ASSERT_FALSE(entries);
  EXPECT_EQ(entries.error().kind, ErrorKind::kGone);
}

}  // namespace
}  // namespace rchk::snapshot
