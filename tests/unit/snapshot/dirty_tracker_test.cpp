#include "snapshot/dirty_tracker.h"

#include <algorithm>
#include <string>

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "snapshot/memory_reader.h"
#include "tracker_interval.h"

namespace rchk::snapshot::test {
namespace {

TEST_P(DirtyTrackerTest, FindsWrittenPagesAndNoOthers) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 16);
      fill(0, 12, 1);
      side.fork_reference();
      at_page(3)[5] = 2;
      at_page(11)[4095] = 2;
      at_page(14)[0] = 2;  // first touch
      side.tell(0);
    });
    EXPECT_EQ(in_area(interval.collect().pages), Indexes{});
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{3, 11, 14}));
  });
}

TEST_P(DirtyTrackerTest, ReadingMakesNothingDirty) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 16);
      fill(0, 8, 1);
      side.fork_reference();
      volatile uint8_t sum = 0;
      for (int i = 0; i < 8; ++i) sum = sum + *at_page(i);
      side.tell(sum);
    });
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), Indexes{});
  });
}

TEST_P(DirtyTrackerTest, FindsWhatSystemCallsWrite) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      const int zeros = open("/dev/zero", O_RDONLY);
      side.fork_reference();
      const bool whole = read(zeros, at_page(2) + 100, kPageSize) == ssize_t{kPageSize};
      side.tell(whole);
    });
    EXPECT_EQ(interval.go_and_hear(), 1u);
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{2, 3}));
  });
}

TEST_P(DirtyTrackerTest, FindsWhatADebuggerWrites) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8, PROT_READ | PROT_EXEC);
      side.fork_reference();
      side.tell(0);
    });
    // Into memory that the guest may not write, as a breakpoint is.
    const std::string path = fmt::format("/proc/{}/mem", interval.guest().pid());
    const int memory = open(path.c_str(), O_RDWR);
    ASSERT_GE(memory, 0);
    EXPECT_EQ(pwrite(memory, "\xcc", 1, static_cast<off_t>(page(4).value)), 1);
    close(memory);
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{4}));
  });
}

TEST_P(DirtyTrackerTest, FindsPagesWrittenBeforeTheyWereProtected) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      at_page(1)[0] = 9;
      mprotect(at_page(0), 4 * kPageSize, PROT_READ);
      at_page(5)[0] = 9;
      mprotect(at_page(4), 4 * kPageSize, PROT_NONE);
      side.tell(0);
    });
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{1, 5}));
  });
}

TEST_P(DirtyTrackerTest, FindsDiscardedPages) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      madvise(at_page(2), 2 * kPageSize, MADV_DONTNEED);
      volatile uint8_t zero = *at_page(3);  // now the shared page of zeros
      side.tell(zero);
    });
    interval.go_and_hear();
    interval.contents_changed(page_range(2, 2));
    EXPECT_EQ(in_area(interval.collect().pages), marks_only() ? Indexes{3} : (Indexes{2, 3}));
  });
}

// With an older fork alive too, the reference's own page stays shared: only the page of zeros,
// the frame number or the caller can tell.
TEST_P(DirtyTrackerTest, FindsDiscardedPagesThatAnOlderForkShares) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.sleeping_fork();
      side.fork_reference();
      madvise(at_page(2), 2 * kPageSize, MADV_DONTNEED);
      volatile uint8_t zero = *at_page(3);
      at_page(6)[0] = 2;
      side.tell(zero);
    });
    interval.go_and_hear();
    const bool zeros_known = Pagemap::open(interval.guest().pid()).value().can_scan();
    if (marks_only() || !zeros_known) interval.contents_changed(page_range(2, 2));
    EXPECT_EQ(in_area(interval.collect().pages),
              marks_only() ? (Indexes{3, 6}) : (Indexes{2, 3, 6}));
  });
}

TEST_P(DirtyTrackerTest, FindsPagesMovedOverOthers) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 4, 1);
      fill(4, 4, 2);
      side.sleeping_fork();
      side.fork_reference();
      mremap(at_page(0), 2 * kPageSize, 2 * kPageSize, MREMAP_MAYMOVE | MREMAP_FIXED, at_page(4));
      side.tell(0);
    });
    interval.go_and_hear();
    interval.contents_changed(page_range(4, 2));
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{4, 5}));
  });
}

TEST_P(DirtyTrackerTest, CountsGrownMappingsByPresentPages) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 4);
      fill(0, 4, 1);
      side.fork_reference();
      mremap(at_page(0), 4 * kPageSize, 64 * kPageSize, 0);
      at_page(40)[0] = 1;
      side.tell(0);
    });
    interval.go_and_hear();
    if (marks_only()) interval.mapped(page_range(0, 64));
    const DirtyPages dirty = interval.collect();
    EXPECT_EQ(in_area(dirty.pages), marks_only() ? (Indexes{0, 1, 2, 3, 40}) : Indexes{40});
    EXPECT_EQ(intersection(dirty.new_mappings, {page_range(0, 1000)}),
              (RangeSet{page_range(4, 60)}));
  });
}

TEST_P(DirtyTrackerTest, FindsABreakThatShrankAndGrewAgain) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      const auto start = static_cast<uint64_t>(syscall(SYS_brk, 0));
      const uint64_t begin = (start + kPageSize - 1) & ~(kPageSize - 1);
      syscall(SYS_brk, begin + 8 * kPageSize);
      std::memset(reinterpret_cast<void*>(begin), 1, 8 * kPageSize);
      side.fork_reference();
      syscall(SYS_brk, begin + 2 * kPageSize);
      syscall(SYS_brk, begin + 8 * kPageSize);
      *reinterpret_cast<uint8_t*>(begin + 4 * kPageSize) = 1;
      side.tell(begin);
    });
    const GuestAddress begin{interval.go_and_hear()};
    if (marks_only()) interval.mapped(range_of(begin + 2 * kPageSize, 6 * kPageSize));
    const DirtyPages dirty = interval.collect();
    // Soft-dirty marks all of a mapping that grows.
    if (kind() != TrackerKind::kSoftDirty) EXPECT_FALSE(contains(dirty.pages, begin));
    EXPECT_TRUE(contains(dirty.pages, begin + 4 * kPageSize));
    for (int i = 2; i < 8 && !marks_only(); ++i) {
      EXPECT_TRUE(contains(dirty.pages, begin + i * kPageSize)) << i;
    }
  });
}

TEST_P(DirtyTrackerTest, FindsDeepStacks) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.fork_reference();
      volatile uint8_t deep[1 << 18];
      for (size_t i = 0; i < sizeof(deep); i += 512) deep[i] = 7;
      side.tell(reinterpret_cast<uint64_t>(&deep[0]));
    });
    const GuestAddress deep{interval.go_and_hear()};
    const DirtyPages dirty = interval.collect();
    for (int i = 1; i < 64; ++i) {
      EXPECT_TRUE(contains(dirty.pages, deep + i * kPageSize)) << i;
    }
  });
}

TEST_P(DirtyTrackerTest, FindsWrittenPagesOfPrivateFileMappings) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      const int file = memfd_create("test", 0);
      if (ftruncate(file, 16 * kPageSize) != 0) _exit(1);
      side.map(0, 16, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
      at_page(1)[0] = 1;
      at_page(2)[0] = 1;
      side.fork_reference();
      volatile uint8_t read_only = *at_page(8);
      at_page(2)[0] = 2;
      at_page(9)[0] = 2;
      madvise(at_page(1), kPageSize, MADV_DONTNEED);
      side.tell(read_only);
    });
    interval.go_and_hear();
    if (marks_only()) interval.contents_changed(page_range(1, 1));
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{1, 2, 9}));
    interval.contents_changed(page_range(12, 1));
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{1, 2, 9, 12}));
  });
}

TEST_P(DirtyTrackerTest, SharedMappingsCountWholly) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      const int file = memfd_create("both", 0);
      const int other = memfd_create("read only", 0);
      if (ftruncate(file, 4 * kPageSize) != 0 || ftruncate(other, 4 * kPageSize) != 0) _exit(1);
      side.map(0, 4, PROT_READ | PROT_WRITE, MAP_SHARED, file);
      side.map(8, 4, PROT_READ, MAP_SHARED, file);  // changes by writes to the one before
      side.map(16, 4, PROT_READ, MAP_SHARED, other);
      side.map(24, 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
      side.fork_reference();
      at_page(0)[0] = 1;
      side.tell(0);
    });
    interval.go_and_hear();
    const Indexes all{0, 1, 2, 3, 8, 9, 10, 11, 24, 25, 26, 27};
    EXPECT_EQ(in_area(interval.collect().pages), all);
  });
}

TEST_P(DirtyTrackerTest, FindsWritesToHugePages) {
  run([&] {
    constexpr uint64_t kHuge = 512;  // pages in 2 MiB
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 4 * kHuge);
      madvise(at_page(0), 4 * kHuge * kPageSize, MADV_HUGEPAGE);
      fill(0, 3 * kHuge, 1);
      side.fork_reference();
      at_page(7)[0] = 2;              // splits a huge page
      fill(kHuge, kHuge, 2);          // all of one
      at_page(3 * kHuge + 9)[0] = 2;  // a new one
      side.tell(0);
    });
    EXPECT_EQ(in_area(interval.collect().pages), Indexes{});
    interval.go_and_hear();
    const DirtyPages dirty = interval.collect();
    EXPECT_TRUE(contains(dirty.pages, page(7)));
    EXPECT_FALSE(contains(dirty.pages, page(2 * kHuge)));
    EXPECT_TRUE(contains(dirty.pages, page(3 * kHuge + 9)));
  });
}

TEST_P(DirtyTrackerTest, FindsCollapsedHugePages) {
  run([&] {
    constexpr uint64_t kHuge = 512;
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, kHuge);
      fill(0, kHuge, 1);
      side.fork_reference();
      at_page(3)[0] = 2;
      constexpr int kCollapse = 25;  // MADV_COLLAPSE, since 6.1
      side.tell(madvise(at_page(0), kHuge * kPageSize, kCollapse) == 0);
    });
    interval.go_and_hear();
    EXPECT_TRUE(contains(interval.collect().pages, page(3)));
  });
}

TEST_P(DirtyTrackerTest, HonoursMappingsThatForksDoNotGet) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 12);
      fill(0, 12, 1);
      madvise(at_page(0), 2 * kPageSize, MADV_DONTFORK);
      madvise(at_page(4), 2 * kPageSize, MADV_WIPEONFORK);
      side.fork_reference();
      at_page(9)[0] = 2;
      side.tell(0);
    });
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages),
              marks_only() ? Indexes{9} : (Indexes{0, 1, 4, 5, 9}));
  });
}

TEST_P(DirtyTrackerTest, RemembersWhatAForkOfTheGuestSharesAgain) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      at_page(1)[0] = 2;
      side.tell(0);
      side.sleeping_fork();
      at_page(3)[0] = 2;
      side.tell(0);
      munmap(at_page(1), kPageSize);
      side.tell(0);
    });
    interval.go_and_hear();
    ASSERT_TRUE(interval.tracker().about_to_fork());
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{1, 3}));
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{3}));
  });
}

TEST_P(DirtyTrackerTest, BeginsAnewAtEachReference) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      at_page(1)[0] = 2;
      side.fork_reference();
      at_page(2)[0] = 2;
      side.tell(0);
    });
    interval.begin(static_cast<int>(interval.go_and_hear()));
    EXPECT_EQ(in_area(interval.collect().pages), Indexes{});
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{2}));
  });
}

TEST_P(DirtyTrackerTest, UntouchedGigabytesCostNothing) {
  const bool can_scan = rights() != Rights::kNoScan && Pagemap::open(getpid()).value().can_scan();
  if (!can_scan) GTEST_SKIP() << "needs PAGEMAP_SCAN";
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      constexpr uint64_t kPages = uint64_t{1} << 28;  // 1 TiB
      side.map(0, kPages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
      at_page(1)[0] = 1;
      side.fork_reference();
      at_page(1)[0] = 2;
      at_page(kPages / 2)[0] = 2;
      side.tell(kPages);
    });
    const uint64_t pages = interval.go_and_hear();
    const auto dirty = interval.tracker().collect();
    ASSERT_TRUE(dirty) << dirty.error().message();
    EXPECT_EQ(intersection(dirty->pages, {page_range(0, pages)}),
              (RangeSet{page_range(1, 1), page_range(pages / 2, 1)}));
  });
}

TEST_P(DirtyTrackerTest, SaysThatAProcessIsGone) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) { side.fork_reference(); });
    if (interval.reference() != 0) kill(interval.reference(), SIGKILL);
    interval.guest().end();
    const auto dirty = interval.tracker().collect();
    ASSERT_FALSE(dirty);
    EXPECT_EQ(dirty.error().kind, ErrorKind::kGone);
  });
}

std::string parameter_name(const testing::TestParamInfo<Parameters>& info) {
  std::string name(name_of(std::get<0>(info.param)));
  std::replace(name.begin(), name.end(), '-', '_');
  switch (std::get<1>(info.param)) {
    case Rights::kAll:
      return name + "_all_rights";
    case Rights::kNoFrames:
      return name + "_no_frames";
    case Rights::kNoScan:
      return name + "_no_scan";
  }
  return name;
}

// Userfaultfd is nothing without PAGEMAP_SCAN.
INSTANTIATE_TEST_SUITE_P(Trackers, DirtyTrackerTest,
                         testing::Values(Parameters{TrackerKind::kSoftDirty, Rights::kAll},
                                         Parameters{TrackerKind::kSoftDirty, Rights::kNoFrames},
                                         Parameters{TrackerKind::kSoftDirty, Rights::kNoScan},
                                         Parameters{TrackerKind::kUserfaultfd, Rights::kAll},
                                         Parameters{TrackerKind::kUserfaultfd, Rights::kNoFrames},
                                         Parameters{TrackerKind::kExclusive, Rights::kAll},
                                         Parameters{TrackerKind::kExclusive, Rights::kNoFrames},
                                         Parameters{TrackerKind::kExclusive, Rights::kNoScan},
                                         Parameters{TrackerKind::kContent, Rights::kAll},
                                         Parameters{TrackerKind::kContent, Rights::kNoFrames},
                                         Parameters{TrackerKind::kContent, Rights::kNoScan}),
                         parameter_name);

}  // namespace
}  // namespace rchk::snapshot::test
