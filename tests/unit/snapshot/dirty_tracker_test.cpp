#include "snapshot/dirty_tracker.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <tuple>

#include <fcntl.h>
#include <sys/syscall.h>

#include "rights.h"
#include "snapshot/address_space.h"
#include "snapshot/memory_reader.h"
#include "snapshot/pagemap.h"
#include "test_guest.h"

namespace rchk::snapshot {
namespace {

using test::at_page;
using test::Guest;
using test::GuestSide;
using test::page;
using test::page_range;
using test::Rights;

using Parameters = std::tuple<TrackerKind, Rights>;

class DirtyTrackerTest : public testing::TestWithParam<Parameters> {
 protected:
  TrackerKind kind() const { return std::get<0>(GetParam()); }
  void run(const std::function<void()>& body) { test::run_with(std::get<1>(GetParam()), body); }
};

// A guest, the reference that it left behind, and a tracker between them.
class Interval {
 public:
  Interval(TrackerKind kind, const std::function<void(GuestSide&)>& body)
      : guest_(body),
        reference_(static_cast<int>(guest_.hear())),
        tracker_(make_tracker(kind, guest_.pid())) {
    test::stop(reference_);
    EXPECT_TRUE(tracker_->begin(reference_));
  }

  Guest& guest() { return guest_; }
  int reference() const { return reference_; }
  DirtyTracker& tracker() { return *tracker_; }
  uint64_t go_and_hear() { return guest_.go_and_hear(); }

  // What the tracker finds, checked against the contents of both processes.
  DirtyPages collect() {
    const auto dirty = tracker_->collect();
    if (!dirty) {
      ADD_FAILURE() << dirty.error().message();
      return {};
    }
    expect_superset(*dirty);
    return *dirty;
  }

  // The pages of the test area in the set, as indexes.
  static std::vector<uint64_t> in_area(const RangeSet& pages) {
    std::vector<uint64_t> indexes;
    for (const AddressRange& part : intersection(pages, {page_range(0, 1 << 20)})) {
      for (GuestAddress at = part.begin; at < part.end; at = at + kPageSize) {
        indexes.push_back((at - page(0)) / kPageSize);
      }
    }
    return indexes;
  }

 private:
  // Every page that differs must be in the set; a page that the reference lacks differs if it is
  // not zeros. Pages of new file mappings are the file's, which is not the tracker's matter.
  void expect_superset(const DirtyPages& dirty) {
    const auto now = MemoryReader::open(guest_.pid());
    const auto then = MemoryReader::open(reference_);
    const auto maps = read_proc_maps(guest_.pid());
    ASSERT_TRUE(now && then && maps);
    for (const ProcMapsEntry& entry : *maps) {
      if (entry.name.starts_with("[v")) continue;
      constexpr uint64_t kPiece = 256 * kPageSize;
      for (GuestAddress at = entry.range.begin; at < entry.range.end; at = at + kPiece) {
        const AddressRange piece{at, std::min(at + kPiece, entry.range.end)};
        expect_superset_of(*now, *then, piece, entry.inode != 0, dirty);
      }
    }
  }

  void expect_superset_of(const MemoryReader& now, const MemoryReader& then, AddressRange piece,
                          bool of_file, const DirtyPages& dirty) {
    std::vector<uint8_t> a(piece.size());
    std::vector<uint8_t> b(piece.size());
    ASSERT_TRUE(now.read_or_zero(piece.begin, a));
    ASSERT_TRUE(then.read_or_zero(piece.begin, b));
    for (uint64_t offset = 0; offset < piece.size(); offset += kPageSize) {
      const GuestAddress at = piece.begin + offset;
      const bool is_new = contains(dirty.new_mappings, at);
      if (is_new && of_file) continue;
      if (is_new) std::memset(b.data() + offset, 0, kPageSize);
      const bool same = std::memcmp(a.data() + offset, b.data() + offset, kPageSize) == 0;
      if (!same) ASSERT_TRUE(contains(dirty.pages, at)) << "missed " << fmt::format("{}", at);
    }
  }

  Guest guest_;
  int reference_;
  std::unique_ptr<DirtyTracker> tracker_;
};

void fill(uint64_t first, uint64_t pages, int value) {
  std::memset(at_page(first), value, pages * kPageSize);
}

using Indexes = std::vector<uint64_t>;

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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), Indexes{});
    interval.go_and_hear();
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{3, 11, 14}));
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), Indexes{});
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{2, 3}));
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{4}));
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{1, 5}));
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
    interval.tracker().contents_changed(page_range(2, 2));
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{2, 3}));
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
    if (std::get<1>(GetParam()) == Rights::kNoScan) {
      interval.tracker().contents_changed(page_range(2, 2));
    }
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{2, 3, 6}));
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
    interval.tracker().contents_changed(page_range(4, 2));
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{4, 5}));
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
    const DirtyPages dirty = interval.collect();
    EXPECT_EQ(Interval::in_area(dirty.pages), (Indexes{40}));
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
    const DirtyPages dirty = interval.collect();
    EXPECT_FALSE(contains(dirty.pages, begin));
    for (int i = 2; i < 8; ++i) EXPECT_TRUE(contains(dirty.pages, begin + i * kPageSize)) << i;
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{1, 2, 9}));
    interval.tracker().contents_changed(page_range(12, 1));
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{1, 2, 9, 12}));
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), all);
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), Indexes{});
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{0, 1, 4, 5, 9}));
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
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{1, 3}));
    interval.go_and_hear();
    EXPECT_EQ(Interval::in_area(interval.collect().pages), (Indexes{3}));
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
    const int second = static_cast<int>(interval.go_and_hear());
    ASSERT_TRUE(interval.tracker().begin(second));
    interval.go_and_hear();
    const auto dirty = interval.tracker().collect();
    ASSERT_TRUE(dirty) << dirty.error().message();
    EXPECT_EQ(Interval::in_area(dirty->pages), (Indexes{2}));
  });
}

TEST_P(DirtyTrackerTest, UntouchedGigabytesCostNothing) {
  if (std::get<1>(GetParam()) == Rights::kNoScan) GTEST_SKIP() << "needs PAGEMAP_SCAN";
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
    kill(interval.reference(), SIGKILL);
    interval.guest().end();
    const auto dirty = interval.tracker().collect();
    ASSERT_FALSE(dirty);
    EXPECT_EQ(dirty.error().kind, ErrorKind::kGone);
  });
}

// What the random guest does; the test tells trackers what the recorder would.
struct RandomStep {
  enum Kind { kWrite, kDiscard, kUnmap, kMap, kMove, kProtect, kFork, kKinds } kind;
  uint64_t first;
  uint64_t pages;
  uint64_t target;
};

std::vector<RandomStep> random_steps(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<RandomStep> steps(100);
  for (RandomStep& step : steps) {
    // Writes are as likely as all else together.
    const uint32_t kind = random() % (2 * RandomStep::kKinds);
    step.kind = kind < RandomStep::kKinds ? RandomStep::Kind(kind) : RandomStep::kWrite;
    step.first = random() % 56;
    step.pages = 1 + random() % 8;
    step.target = random() % 56;
  }
  return steps;
}

void perform(GuestSide& side, const RandomStep& step, uint8_t value) {
  uint8_t* const begin = at_page(step.first);
  const uint64_t bytes = step.pages * kPageSize;
  switch (step.kind) {
    case RandomStep::kWrite: {
      // As a system call does it, so that what may not be written is left alone.
      const int file = memfd_create("value", 0);
      for (uint64_t i = 0; i < step.pages; ++i) {
        if (pwrite(file, &value, 1, 0) == 1) (void)!pread(file, begin + i * kPageSize, 1, 0);
      }
      close(file);
      break;
    }
    case RandomStep::kDiscard:
      madvise(begin, bytes, MADV_DONTNEED);
      break;
    case RandomStep::kUnmap:
      munmap(begin, bytes);
      break;
    case RandomStep::kMap:
      side.map(step.first, step.pages);
      break;
    case RandomStep::kMove:
      mremap(begin, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at_page(step.target));
      break;
    case RandomStep::kProtect:
      mprotect(begin, bytes, value % 2 == 0 ? PROT_READ : PROT_READ | PROT_WRITE);
      break;
    case RandomStep::kFork:
      side.sleeping_fork();
      break;
    case RandomStep::kKinds:
      break;
  }
}

void tell_tracker(DirtyTracker& tracker, const RandomStep& step) {
  switch (step.kind) {
    case RandomStep::kDiscard:
    case RandomStep::kMap:
      tracker.contents_changed(page_range(step.first, step.pages));
      break;
    case RandomStep::kMove:
      tracker.contents_changed(page_range(step.target, step.pages));
      break;
    case RandomStep::kFork:
      ASSERT_TRUE(tracker.about_to_fork());
      break;
    case RandomStep::kWrite:
    case RandomStep::kUnmap:
    case RandomStep::kProtect:
    case RandomStep::kKinds:
      break;
  }
}

TEST_P(DirtyTrackerTest, NeverMissesAPageOfARandomGuest) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const std::vector<RandomStep> steps = random_steps(seed);
    run([&] {
      Interval interval(kind(), [&](GuestSide& side) {
        side.map(0, 64);
        fill(0, 48, 0xee);
        side.fork_reference();
        for (size_t i = 0; i < steps.size(); ++i) {
          side.tell(i);
          perform(side, steps[i], static_cast<uint8_t>(i));
        }
        side.tell(steps.size());
      });
      interval.go_and_hear();
      for (size_t i = 0; i < steps.size() && !testing::Test::HasFailure(); ++i) {
        SCOPED_TRACE(fmt::format("step {} of kind {}", i, static_cast<int>(steps[i].kind)));
        tell_tracker(interval.tracker(), steps[i]);
        interval.go_and_hear();
        if (i % 10 == 9) interval.collect();
      }
    });
  }
}

std::string parameter_name(const testing::TestParamInfo<Parameters>& info) {
  std::string name(name_of(std::get<0>(info.param)));
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

INSTANTIATE_TEST_SUITE_P(
    Trackers, DirtyTrackerTest,
    testing::Combine(testing::Values(TrackerKind::kExclusive, TrackerKind::kContent),
                     testing::Values(Rights::kAll, Rights::kNoFrames, Rights::kNoScan)),
    parameter_name);

}  // namespace
}  // namespace rchk::snapshot
