// A guest that does anything to its memory, in any order.

#include <array>
#include <cstdlib>
#include <random>

#include "snapshot/memory_reader.h"
#include "tracker_interval.h"

namespace rchk::snapshot::test {
namespace {

constexpr uint64_t kAreaPages = 2048;  // four huge pages
constexpr int kSteps = 60;

enum class Action {
  kWrite,
  kRead,
  kDiscard,
  kUnmap,
  kMap,
  kMapPrivateFile,
  kMove,
  kMoveAndLeave,
  kGrow,
  kShrink,
  kProtect,
  kAdviseHuge,
  kCollapse,
  kFork,
  kBegin,
};
constexpr int kActions = static_cast<int>(Action::kBegin) + 1;

struct Step {
  Action action;
  uint64_t first;
  uint64_t pages;
  uint64_t target;
  int protection;
};

std::vector<Step> random_steps(uint32_t seed) {
  std::mt19937 random(seed);
  constexpr std::array kProtections = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                       PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC};
  // Steps meet each other in a few places, where borders of huge pages are.
  const auto place = [&] { return random() % 3 * 512 + (random() % 4 == 0 ? 0 : random() % 48); };
  std::vector<Step> steps(kSteps);
  for (Step& step : steps) {
    // Writes are half as likely as all else together.
    const auto action = static_cast<int>(random() % (kActions * 3 / 2));
    step.action = action < kActions ? static_cast<Action>(action) : Action::kWrite;
    step.first = place();
    step.pages = random() % 8 == 0 ? 512 : 1 + random() % 12;
    step.target = place();
    step.protection = kProtections[random() % kProtections.size()];
  }
  return steps;
}

// The part of the area that a step names, and no more.
AddressRange range_of_step(const Step& step) { return page_range(step.first, step.pages); }

// As a system call does it, so that what may not be touched is left alone.
void write_or_read(const Step& step, uint8_t value) {
  const int file = memfd_create("value", 0);
  if (pwrite(file, &value, 1, 0) != 1) _exit(1);
  for (uint64_t i = 0; i < step.pages; i += 1 + i / 16) {
    uint8_t* const at = at_page(step.first + i) + value;
    if (step.action == Action::kWrite) {
      (void)!pread(file, at, 1, 0);
    } else {
      (void)!pwrite(file, at, 1, 0);
    }
  }
  close(file);
}

// A private mapping of a file that holds something other than zeros.
void map_file(GuestSide& side, const Step& step) {
  const int file = memfd_create("file", 0);
  const std::array<uint8_t, kPageSize> bytes = {0xab};
  for (uint64_t i = 0; i < step.pages; ++i) {
    if (write(file, bytes.data(), bytes.size()) != ssize_t{kPageSize}) _exit(1);
  }
  side.map(step.first, step.pages, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
  close(file);
}

void perform(GuestSide& side, const Step& step, uint8_t value) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, since 6.1
  uint8_t* const begin = at_page(step.first);
  const uint64_t bytes = step.pages * kPageSize;
  switch (step.action) {
    case Action::kWrite:
    case Action::kRead:
      write_or_read(step, value);
      break;
    case Action::kDiscard:
      madvise(begin, bytes, MADV_DONTNEED);
      break;
    case Action::kUnmap:
      munmap(begin, bytes);
      break;
    case Action::kMap:
      side.map(step.first, step.pages, step.protection);
      break;
    case Action::kMapPrivateFile:
      map_file(side, step);
      break;
    case Action::kMove:
      mremap(begin, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at_page(step.target));
      break;
    case Action::kMoveAndLeave:
      mremap(begin, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
             at_page(step.target));
      break;
    case Action::kGrow:
      mremap(begin, bytes, bytes + 8 * kPageSize, 0);
      break;
    case Action::kShrink:
      mremap(begin, bytes, (step.pages + 1) / 2 * kPageSize, 0);
      break;
    case Action::kProtect:
      mprotect(begin, bytes, step.protection);
      break;
    case Action::kAdviseHuge:
      madvise(begin, bytes, step.protection == PROT_NONE ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
      break;
    case Action::kCollapse:
      madvise(at_page(step.first / 512 * 512), 512 * kPageSize, kCollapse);
      break;
    case Action::kFork:
      side.sleeping_fork();
      break;
    case Action::kBegin:
      side.fork_reference();
      break;
  }
}

void tell_before(Interval& interval, const Step& step) {
  DirtyTracker& tracker = interval.tracker();
  const bool remaps = step.action == Action::kMove || step.action == Action::kMoveAndLeave ||
                      step.action == Action::kGrow || step.action == Action::kShrink;
  if (remaps) ASSERT_TRUE(tracker.about_to_remap(range_of_step(step)));
  if (step.action == Action::kProtect || step.action == Action::kAdviseHuge) {
    ASSERT_TRUE(tracker.about_to_protect(range_of_step(step)));
  }
  if (step.action == Action::kFork) ASSERT_TRUE(tracker.about_to_fork());
}

void tell_after(Interval& interval, const Step& step) {
  const AddressRange range = range_of_step(step);
  const AddressRange target = page_range(step.target, step.pages);
  switch (step.action) {
    case Action::kDiscard:
      interval.contents_changed(range);
      break;
    case Action::kMap:
    case Action::kMapPrivateFile:
      interval.mapped(range);
      break;
    case Action::kMove:
      interval.mapped(target);
      break;
    case Action::kMoveAndLeave:
      interval.mapped(target);
      interval.contents_changed(range);
      break;
    case Action::kGrow:
      interval.mapped(page_range(step.first, step.pages + 8));
      break;
    default:
      break;
  }
}

void run_random_guest(TrackerKind kind, const std::vector<Step>& steps) {
  Interval interval(kind, [&](GuestSide& side) {
    side.map(0, 600);
    fill(0, 48, 0xee);
    side.map(1024, 512);
    madvise(at_page(1024), 512 * kPageSize, MADV_HUGEPAGE);
    fill(1024, 512, 0xee);
    side.fork_reference();
    for (size_t i = 0; i < steps.size(); ++i) {
      side.tell(i);
      perform(side, steps[i], static_cast<uint8_t>(i));
    }
    side.tell(steps.size());
  });
  interval.go_and_hear();
  for (size_t i = 0; i < steps.size() && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(fmt::format("step {} of kind {}: {}", i, static_cast<int>(steps[i].action),
                             range_of_step(steps[i])));
    tell_before(interval, steps[i]);
    const uint64_t told = interval.go_and_hear();
    if (steps[i].action == Action::kBegin) {
      interval.begin(static_cast<int>(told));
      interval.go_and_hear();
    }
    tell_after(interval, steps[i]);
    if (i % 4 == 3) interval.collect();
  }
}

// RCHK_TRACKER_SEEDS is how many guests are tried; a failing one's number is in the message.
uint32_t wanted_seeds() {
  const char* const wanted = std::getenv("RCHK_TRACKER_SEEDS");
  return wanted != nullptr ? static_cast<uint32_t>(std::atoi(wanted)) : 5;
}

TEST_P(DirtyTrackerTest, NeverMissesAPageOfARandomGuest) {
  for (uint32_t seed = 1; seed <= wanted_seeds() && !HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    run([&] { run_random_guest(kind(), random_steps(seed)); });
  }
}

}  // namespace
}  // namespace rchk::snapshot::test
