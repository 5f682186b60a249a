// What only the userfaultfd tracker has: registration.

#include <fstream>

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "tracker_interval.h"

namespace rchk::snapshot::test {
namespace {

class UserfaultfdTrackerTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = why_not(TrackerKind::kUserfaultfd);
    if (!reason.empty()) GTEST_SKIP() << reason;
  }
};

// The tests that are skipped where the tracker does not work must not all be so by its own fault.
TEST(TrackerProbe, UserfaultfdWorksWhereTheKernelHasIt) {
  constexpr uint64_t kFeatureWpAsync = 1 << 15;
  const FileDescriptor file(
      static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  uffdio_api api = {};
  api.api = UFFD_API;
  api.features = kFeatureWpAsync;
  if (!file.is_open() || ioctl(file.get(), UFFDIO_API, &api) != 0) GTEST_SKIP() << "not here";
  EXPECT_EQ(why_not(TrackerKind::kUserfaultfd), "");
}

// A value in kB of /proc/PID/status.
uint64_t status_kilobytes(int pid, const std::string& name) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
  }
  return 0;
}

// Mappings of the test area.
size_t mappings_in_area(int pid) {
  const auto maps = read_proc_maps(pid).value();
  return static_cast<size_t>(std::count_if(
      maps.begin(), maps.end(),
      [](const ProcMapsEntry& mapping) { return page_range(0, 1 << 20).contains(mapping.range); }));
}

TEST_F(UserfaultfdTrackerTest, SaysThatAGuestHasAUserfaultfdOfItsOwn) {
  Guest guest([](GuestSide& side) {
    side.map(0, 8);
    fill(0, 8, 1);
    const int own = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
    uffdio_api api = {};
    api.api = UFFD_API;
    uffdio_register area = {};
    area.range = {page(2).value, kPageSize};
    area.mode = UFFDIO_REGISTER_MODE_MISSING;
    const bool registered =
        ioctl(own, UFFDIO_API, &api) == 0 && ioctl(own, UFFDIO_REGISTER, &area) == 0;
    side.tell(registered);
  });
  ASSERT_EQ(guest.hear(), 1u);
  const auto began = tracker_for(TrackerKind::kUserfaultfd, guest)->begin(-1);
  ASSERT_FALSE(began);
  EXPECT_EQ(began.error().kind, ErrorKind::kMachine);
  EXPECT_NE(began.error().message().find("userfaultfd of its own"), std::string::npos);
}

TEST_F(UserfaultfdTrackerTest, RefusesADescriptorOfAnotherKind) {
  const auto tracker = make_userfaultfd_tracker(getpid(), FileDescriptor(dup(0)));
  ASSERT_FALSE(tracker);
  EXPECT_EQ(tracker.error().kind, ErrorKind::kMachine);
}

// One entry of the page table for each page of a reservation would be 2 GiB of page tables.
TEST_F(UserfaultfdTrackerTest, PageTablesOfUntouchedMemoryDoNotGrow) {
  Guest guest([](GuestSide& side) {
    constexpr uint64_t kPages = uint64_t{1} << 28;  // 1 TiB
    side.map(0, kPages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    at_page(1)[0] = 1;
    side.tell(0);
  });
  guest.hear();
  const uint64_t before = status_kilobytes(guest.pid(), "VmPTE");
  const auto tracker = tracker_for(TrackerKind::kUserfaultfd, guest);
  ASSERT_TRUE(tracker->begin(-1));
  EXPECT_LE(status_kilobytes(guest.pid(), "VmPTE"), before + 64);
}

// Memory that is not registered has no marks.
TEST_F(UserfaultfdTrackerTest, FindsWritesToMemoryThatItWasNotToldOf) {
  Interval interval(TrackerKind::kUserfaultfd, [](GuestSide& side) {
    side.map(0, 8);
    fill(0, 8, 1);
    side.fork_reference();
    side.map(2, 2);
    at_page(3)[0] = 2;
    side.tell(0);
  });
  interval.go_and_hear();
  const auto dirty = interval.tracker().collect();
  ASSERT_TRUE(dirty) << dirty.error().message();
  EXPECT_EQ(in_area(dirty->pages), Indexes{3});
}

TEST_F(UserfaultfdTrackerTest, LeavesMappingsAsTheyNativelyAre) {
  Interval interval(TrackerKind::kUserfaultfd, [](GuestSide& side) {
    side.map(0, 4);
    fill(0, 4, 1);
    side.fork_reference();
    side.map(4, 4);
    side.tell(0);
    fill(4, 4, 1);
    side.tell(0);
  });
  EXPECT_EQ(mappings_in_area(interval.guest().pid()), 1u);
  interval.go_and_hear();
  interval.mapped(page_range(4, 4));
  EXPECT_EQ(mappings_in_area(interval.guest().pid()), 1u);
  interval.go_and_hear();
  interval.begin(0);
  EXPECT_EQ(mappings_in_area(interval.guest().pid()), 1u);
}

TEST_F(UserfaultfdTrackerTest, EndsRegistrationWithItself) {
  Guest guest([](GuestSide& side) {
    side.map(0, 8);
    fill(0, 8, 1);
    side.tell(0);
    const int second = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
    uffdio_api api = {};
    api.api = UFFD_API;
    uffdio_register area = {};
    area.range = {page(0).value, 8 * kPageSize};
    area.mode = UFFDIO_REGISTER_MODE_MISSING;
    ioctl(second, UFFDIO_API, &api);
    side.tell(ioctl(second, UFFDIO_REGISTER, &area) == 0);
  });
  guest.hear();
  auto tracker = tracker_for(TrackerKind::kUserfaultfd, guest);
  ASSERT_TRUE(tracker->begin(-1));
  tracker.reset();
  EXPECT_EQ(guest.go_and_hear(), 1u);
}

TEST_F(UserfaultfdTrackerTest, BelongsToOneAddressSpace) {
  Guest guest([](GuestSide& side) {
    side.tell(0);
    execl("/bin/sleep", "sleep", "1000", nullptr);
  });
  guest.hear();
  const auto tracker = tracker_for(TrackerKind::kUserfaultfd, guest);
  guest.go();
  std::string name;
  for (int i = 0; i < 5000 && name != "sleep"; ++i) {
    usleep(1000);
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", guest.pid())), name);
  }
  stop(guest.pid());
  EXPECT_FALSE(tracker->begin(-1));
}

}  // namespace
}  // namespace rchk::snapshot::test
