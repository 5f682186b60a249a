// What system calls do to memory under a tracker, beside writing to it.

#include <algorithm>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/uio.h>

#include "snapshot/memory_reader.h"
#include "tracker_interval.h"

namespace rchk::snapshot::test {
namespace {

// Newer than the C library's headers.
constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13

// A tracker may name whole neighbours of a mapping made since.
bool is_exact_beside_new_mappings(TrackerKind kind) { return kind != TrackerKind::kSoftDirty; }

TEST_P(DirtyTrackerTest, OtherProcessesWriteAndReadMemory) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
    });
    const auto memory = MemoryReader::open(interval.guest().pid());
    ASSERT_TRUE(memory);
    std::vector<uint8_t> bytes(8 * kPageSize);
    ASSERT_TRUE(memory->read_exactly(page(0), bytes));
    EXPECT_EQ(in_area(interval.collect().pages), Indexes{});
    uint8_t value = 2;
    const iovec from = {&value, 1};
    const iovec to = {at_page(2), 1};
    ASSERT_EQ(process_vm_writev(interval.guest().pid(), &from, 1, &to, 1, 0), 1);
    EXPECT_EQ(in_area(interval.collect().pages), Indexes{2});
  });
}

TEST_P(DirtyTrackerTest, FindsFirstWritesToPagesOfZeros) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      volatile uint8_t sum = 0;
      for (int i = 0; i < 4; ++i) sum = sum + *at_page(i);
      side.fork_reference();
      at_page(1)[0] = 1;
      side.tell(sum);
    });
    interval.go_and_hear();
    const Indexes dirty = in_area(interval.collect().pages);
    EXPECT_TRUE(std::find(dirty.begin(), dirty.end(), 1) != dirty.end());
    // Others may take pages of zeros for written ones.
    if (kind() == TrackerKind::kUserfaultfd) EXPECT_EQ(dirty, Indexes{1});
  });
}

TEST_P(DirtyTrackerTest, FindsPagesOfMappingsMadeSince) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      side.map(8, 8);  // joined with the one before
      at_page(9)[0] = 1;
      side.map(32, 8);
      at_page(33)[0] = 1;
      side.tell(0);
    });
    interval.go_and_hear();
    interval.mapped(page_range(8, 8));
    interval.mapped(page_range(32, 8));
    const DirtyPages dirty = interval.collect();
    EXPECT_EQ(intersection(dirty.new_mappings, {page_range(0, 64)}),
              (RangeSet{page_range(8, 8), page_range(32, 8)}));
    EXPECT_TRUE(contains(dirty.pages, page(9)));
    EXPECT_TRUE(contains(dirty.pages, page(33)));
    if (is_exact_beside_new_mappings(kind())) EXPECT_EQ(in_area(dirty.pages), (Indexes{9, 33}));
  });
}

TEST_P(DirtyTrackerTest, FindsMemoryMappedOverOlder) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      munmap(at_page(2), 2 * kPageSize);
      side.map(2, 2);
      volatile uint8_t zero = *at_page(3);  // was 1
      side.map(6, 1);                       // with MAP_FIXED alone
      at_page(6)[0] = 7;
      side.tell(zero);
    });
    interval.go_and_hear();
    interval.mapped(page_range(2, 2));
    interval.mapped(page_range(6, 1));
    const DirtyPages dirty = interval.collect();
    EXPECT_TRUE(contains(dirty.pages, page(3)));
    EXPECT_TRUE(contains(dirty.pages, page(6)));
    if (is_exact_beside_new_mappings(kind())) EXPECT_FALSE(contains(dirty.pages, page(4)));
  });
}

TEST_P(DirtyTrackerTest, FindsMemoryThatMremapMovedOrLeft) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 4);
      fill(0, 4, 1);
      side.map(8, 4);
      fill(8, 4, 2);
      side.map(32, 16, PROT_READ);
      side.fork_reference();
      mremap(at_page(0), 4 * kPageSize, 8 * kPageSize, MREMAP_MAYMOVE | MREMAP_FIXED, at_page(32));
      mremap(at_page(8), 4 * kPageSize, 4 * kPageSize,
             MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, at_page(44));
      at_page(37)[0] = 3;
      at_page(9)[0] = 3;
      side.tell(0);
    });
    ASSERT_TRUE(interval.tracker().about_to_remap(page_range(0, 4)));
    ASSERT_TRUE(interval.tracker().about_to_remap(page_range(8, 4)));
    interval.go_and_hear();
    interval.contents_changed(page_range(32, 8));
    interval.contents_changed(page_range(44, 4));
    interval.contents_changed(page_range(8, 4));
    const DirtyPages dirty = interval.collect();
    for (const uint64_t index : {9, 32, 33, 34, 35, 37, 44, 45, 46, 47}) {
      EXPECT_TRUE(contains(dirty.pages, page(index))) << index;
    }
  });
}

// Natively they are one mapping, and mremap takes no range of two.
TEST_P(DirtyTrackerTest, MremapTakesOldAndNewMemoryTogether) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 4);
      fill(0, 4, 1);
      side.fork_reference();
      side.map(4, 4);
      side.tell(0);
      fill(4, 4, 2);
      side.tell(0);
      void* const moved = mremap(at_page(1), 6 * kPageSize, 12 * kPageSize,
                                 MREMAP_MAYMOVE | MREMAP_FIXED, at_page(32));
      side.tell(moved == at_page(32));
    });
    interval.go_and_hear();
    interval.mapped(page_range(4, 4));
    interval.go_and_hear();
    ASSERT_TRUE(interval.tracker().about_to_remap(page_range(1, 6)));
    EXPECT_EQ(interval.go_and_hear(), 1u);
    interval.mapped(page_range(32, 12));
    const DirtyPages dirty = interval.collect();
    for (uint64_t i = 32; i < 38; ++i) EXPECT_TRUE(contains(dirty.pages, page(i))) << i;
  });
}

// The same without having been told of the new memory, which then must not have been written.
TEST_P(DirtyTrackerTest, MremapTakesOldAndUnannouncedMemoryTogether) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 4);
      fill(0, 4, 1);
      side.fork_reference();
      side.map(4, 4);
      side.tell(0);
      void* const moved = mremap(at_page(0), 8 * kPageSize, 12 * kPageSize,
                                 MREMAP_MAYMOVE | MREMAP_FIXED, at_page(32));
      side.tell(moved == at_page(32));
    });
    interval.go_and_hear();
    ASSERT_TRUE(interval.tracker().about_to_remap(page_range(0, 8)));
    EXPECT_EQ(interval.go_and_hear(), 1u);
    interval.mapped(page_range(32, 12));
    interval.collect();
  });
}

// Memory joined with a mapping made since can be written without a fault (soft_dirty_tracker.cpp).
// What was written must not be forgotten when it is joined with other old memory behind that. The
// parts of the old memory are of one mapping at first, so that the kernel can join them again.
constexpr int kReadWriteExecute = PROT_READ | PROT_WRITE | PROT_EXEC;

void map_old_parts(GuestSide& side) {
  side.map(0, 12);
  fill(0, 12, 1);
  munmap(at_page(4), 4 * kPageSize);
  mprotect(at_page(0), 4 * kPageSize, kReadWriteExecute);
}

// One after the other, and tells before each.
void protect(GuestSide& side, uint64_t first, uint64_t pages, std::vector<int> protections) {
  for (const int protection : protections) {
    side.tell(0);
    mprotect(at_page(first), pages * kPageSize, protection);
  }
}

void expect_to_protect(Interval& interval, uint64_t first, uint64_t pages, int times) {
  for (int i = 0; i < times; ++i) {
    ASSERT_TRUE(interval.tracker().about_to_protect(page_range(first, pages)));
    interval.go_and_hear();
  }
}

TEST_P(DirtyTrackerTest, FindsWritesBehindMappingsThatMmapJoined) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      map_old_parts(side);
      side.fork_reference();
      side.map(4, 4);  // joined with what follows
      protect(side, 4, 8, {PROT_READ, PROT_READ | PROT_WRITE});
      at_page(9)[0] = 2;
      protect(side, 0, 4, {PROT_READ | PROT_WRITE});  // joined with that
      side.tell(0);
    });
    interval.go_and_hear();
    interval.mapped(page_range(4, 4));
    expect_to_protect(interval, 4, 8, 2);
    EXPECT_TRUE(contains(interval.collect().pages, page(9)));
    expect_to_protect(interval, 0, 4, 1);
    EXPECT_TRUE(contains(interval.collect().pages, page(9)));
  });
}

TEST_P(DirtyTrackerTest, FindsWritesBehindMappingsThatMprotectJoined) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      map_old_parts(side);
      side.fork_reference();
      side.map(4, 4, PROT_READ);
      protect(side, 4, 4, {PROT_READ | PROT_WRITE});  // joined with what follows
      protect(side, 4, 8, {PROT_READ, PROT_READ | PROT_WRITE});
      at_page(9)[0] = 2;
      protect(side, 0, 4, {PROT_READ | PROT_WRITE});  // joined with that
      side.tell(0);
    });
    interval.go_and_hear();
    interval.mapped(page_range(4, 4));
    expect_to_protect(interval, 4, 4, 1);
    expect_to_protect(interval, 4, 8, 2);
    EXPECT_TRUE(contains(interval.collect().pages, page(9)));
    expect_to_protect(interval, 0, 4, 1);
    EXPECT_TRUE(contains(interval.collect().pages, page(9)));
  });
}

TEST_P(DirtyTrackerTest, FindsWritesToMemoryThatGrowsDown) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(600, 8, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK);
      fill(600, 8, 1);
      side.fork_reference();
      at_page(605)[0] = 2;
      at_page(599)[0] = 2;
      at_page(590)[0] = 2;
      side.tell(0);
    });
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{590, 599, 605}));
  });
}

TEST_P(DirtyTrackerTest, CopesWithGuardPages) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      const bool known = madvise(at_page(0), kPageSize, kGuardInstall) == 0;
      side.fork_reference();
      madvise(at_page(2), kPageSize, kGuardInstall);
      madvise(at_page(0), kPageSize, kGuardInstall + 1);  // removes it
      at_page(0)[0] = 3;
      at_page(5)[0] = 3;
      side.tell(known);
    });
    const bool known = interval.go_and_hear() != 0;
    if (known) interval.contents_changed(page_range(2, 1));
    const DirtyPages dirty = interval.collect();
    EXPECT_EQ(in_area(dirty.pages), known ? (Indexes{0, 2, 5}) : (Indexes{0, 5}));
  });
}

// Whether there is swap space or not.
TEST_P(DirtyTrackerTest, FindsWrittenPagesThatWereSwappedOut) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 64);
      fill(0, 64, 1);
      madvise(at_page(0), 32 * kPageSize, MADV_PAGEOUT);
      side.fork_reference();
      at_page(3)[0] = 2;
      at_page(40)[0] = 2;
      madvise(at_page(0), 64 * kPageSize, MADV_PAGEOUT);
      side.tell(0);
      side.tell(*at_page(3) + *at_page(40));  // read back
    });
    for (int i = 0; i < 2; ++i) {
      interval.go_and_hear();
      const DirtyPages dirty = interval.collect();
      EXPECT_TRUE(contains(dirty.pages, page(3)));
      EXPECT_TRUE(contains(dirty.pages, page(40)));
      if (marks_only()) EXPECT_EQ(in_area(dirty.pages), (Indexes{3, 40}));
    }
  });
}

uint64_t number_in(const char* file) {
  uint64_t number = 0;
  std::ifstream(file) >> number;
  return number;
}

// Equal pages that the kernel merges (KSM) lose what their entries said.
TEST_P(DirtyTrackerTest, FindsWrittenPagesThatTheKernelMerged) {
  if (number_in("/sys/kernel/mm/ksm/run") != 1) {
    GTEST_SKIP() << "the kernel does not merge pages here";
  }
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      for (int i = 0; i < 8; ++i) fill(i, 1, i + 1);
      madvise(at_page(0), 8 * kPageSize, MADV_MERGEABLE);
      side.fork_reference();
      fill(3, 2, 0xee);
      // It takes a page that did not change between two scans, and merges it in a later one.
      const auto scans = [] { return number_in("/sys/kernel/mm/ksm/full_scans"); };
      const auto merged = [] { return number_in("/proc/self/ksm_merging_pages"); };
      for (const uint64_t first = scans(); merged() == 0 && scans() < first + 1000;) usleep(10000);
      side.tell(merged());
    });
    EXPECT_GT(interval.go_and_hear(), 0u) << "not merged in 1,000 scans";
    const DirtyPages dirty = interval.collect();
    EXPECT_TRUE(contains(dirty.pages, page(3)));
    EXPECT_TRUE(contains(dirty.pages, page(4)));
  });
}

TEST_P(DirtyTrackerTest, FindsWritesToReservedHugePages) {
  run([&] {
    constexpr uint64_t kHuge = 512;
    Interval interval(kind(), [](GuestSide& side) {
      void* const got = mmap(at_page(0), 2 * kHuge * kPageSize, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0);
      if (got != MAP_FAILED) fill(0, 2 * kHuge, 1);
      side.fork_reference();
      if (got != MAP_FAILED) at_page(kHuge + 3)[0] = 2;
      side.tell(got != MAP_FAILED);
    });
    if (interval.go_and_hear() == 0) GTEST_SKIP() << "no huge pages are reserved";
    const DirtyPages dirty = interval.collect();
    EXPECT_TRUE(contains(dirty.pages, page(kHuge + 3)));
    if (kind() == TrackerKind::kUserfaultfd) EXPECT_FALSE(contains(dirty.pages, page(0)));
  });
}

// Of the guest's forks only the guest itself is tracked.
TEST_P(DirtyTrackerTest, ForksOfTheGuestChangeNothing) {
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.map(0, 8);
      fill(0, 8, 1);
      side.fork_reference();
      at_page(1)[0] = 2;
      side.tell(0);
      const int child = fork();
      if (child == 0) {
        at_page(5)[0] = 2;
        _exit(0);
      }
      waitpid(child, nullptr, 0);
      at_page(3)[0] = 2;
      side.tell(0);
    });
    interval.go_and_hear();
    ASSERT_TRUE(interval.tracker().about_to_fork());
    interval.go_and_hear();
    EXPECT_EQ(in_area(interval.collect().pages), (Indexes{1, 3}));
  });
}

TEST_P(DirtyTrackerTest, ThreadsStandForTheirProcess) {
  if (!marks_only()) GTEST_SKIP() << "looks at the reference too";
  run([&] {
    Guest guest([](GuestSide& side) {
      side.set_forks(false);
      side.map(0, 8);
      fill(0, 8, 1);
      int tid = 0;
      const auto sleep = [](void*) {
        while (true) pause();
        return 0;
      };
      side.map(32, 8);  // its stack
      clone(sleep, at_page(40),
            CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_PARENT_SETTID,
            nullptr, &tid);
      side.tell(static_cast<uint64_t>(tid));
      at_page(3)[0] = 2;
      side.tell(0);
    });
    const int tid = static_cast<int>(guest.hear());
    const auto tracker = kind() == TrackerKind::kUserfaultfd
                             ? make_userfaultfd_tracker(tid, guest.take_userfaultfd()).value()
                             : make_tracker(kind(), tid);
    ASSERT_TRUE(tracker->begin(-1));
    guest.go_and_hear();
    const auto dirty = tracker->collect();
    ASSERT_TRUE(dirty) << dirty.error().message();
    EXPECT_EQ(intersection(dirty->pages, {page_range(0, 8)}), (RangeSet{page_range(3, 1)}));
  });
}

// All of a program's memory is new; what it has touched counts.
TEST_P(DirtyTrackerTest, AfterExecAllThatIsTouchedCounts) {
  if (!marks_only()) GTEST_SKIP() << "needs a new reference then";
  run([&] {
    Interval interval(kind(), [](GuestSide& side) {
      side.fork_reference();
      fcntl(3, F_SETFD, 0);
      execl("/bin/sleep", "sleep", "1000", nullptr);
    });
    const int pid = interval.guest().pid();
    interval.guest().go();
    std::string name;
    while (std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name) &&
           name != "sleep") {
      usleep(1000);
    }
    stop(pid);
    const auto dirty = interval.tracker().collect();
    ASSERT_TRUE(dirty) << dirty.error().message();
    const Contents now = Contents::of(pid);
    EXPECT_FALSE(now.pages.empty());
    for (const auto& [at, bytes] : now.pages) {
      EXPECT_TRUE(contains(dirty->pages, at) || bytes == decltype(bytes){})
          << fmt::format("{}", at);
    }
  });
}

}  // namespace
}  // namespace rchk::snapshot::test
