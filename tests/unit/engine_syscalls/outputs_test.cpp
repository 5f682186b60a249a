#include "engine/syscalls/outputs.h"

#include <cerrno>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tests/unit/engine_syscalls/fake_memory.h"

namespace rchk::syscalls {
namespace {

using test::FakeMemory;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kBuffer = 0x10000;
constexpr uint64_t kSecond = 0x20000;
constexpr uint64_t kThird = 0x30000;

AddressRange bytes_at(uint64_t address, uint64_t bytes) { return range_of({address}, bytes); }

class OutputsTest : public ::testing::Test {
 protected:
  OutputsTest() {
    memory_.map(kBuffer, 0x8000);
    memory_.map(kSecond, 0x8000);
    memory_.map(kThird, 0x8000);
  }
  Outputs of(Call call, int64_t result) {
    return outputs(at_entry(call, memory_), result, memory_);
  }
  std::vector<AddressRange> ranges(Call call, int64_t result) { return of(call, result).ranges; }

  FakeMemory memory_;
};

TEST_F(OutputsTest, ReadFillsWhatItCounts) {
  EXPECT_THAT(ranges({nr::read, {3, kBuffer, 100}}, 10), ElementsAre(bytes_at(kBuffer, 10)));
  EXPECT_THAT(ranges({nr::read, {3, kBuffer, 100}}, 0), IsEmpty());
  EXPECT_THAT(ranges({nr::read, {3, kBuffer, 100}}, -EAGAIN), IsEmpty());
}

TEST_F(OutputsTest, AFaultInABufferLeavesItsContentsOpen) {
  EXPECT_THAT(ranges({nr::read, {3, kBuffer, 100}}, -EFAULT), ElementsAre(bytes_at(kBuffer, 100)));
  // Reaches out of what is mapped.
  EXPECT_THAT(ranges({nr::read, {3, kBuffer + 0x7ff0, 100}}, 8),
              ElementsAre(bytes_at(kBuffer + 0x7ff0, 100)));
}

TEST_F(OutputsTest, ADirectReadMayStorePastItsCount) {
  const Outputs found = of({nr::read, {3, kBuffer, 4096}}, 10);
  EXPECT_THAT(found.ranges, ElementsAre(bytes_at(kBuffer, 10)));
  EXPECT_THAT(found.ranges_if_direct, ElementsAre(bytes_at(kBuffer + 10, 4086)));
  EXPECT_TRUE(may_open_direct({{nr::openat, {0, kBuffer, O_DIRECT}}, {}}, memory_));
  EXPECT_TRUE(may_open_direct({{nr::fcntl, {3, F_SETFL, O_DIRECT}}, {}}, memory_));
  EXPECT_FALSE(may_open_direct({{nr::openat, {0, kBuffer, O_RDWR}}, {}}, memory_));
}

TEST_F(OutputsTest, AVectorIsFilledInOrder) {
  memory_.put(kSecond, std::array<uint64_t, 6>{kBuffer, 10, kBuffer + 100, 0, kBuffer + 200, 50});
  EXPECT_THAT(ranges({nr::readv, {3, kSecond, 3}}, 15),
              ElementsAre(bytes_at(kBuffer, 10), bytes_at(kBuffer + 200, 5)));
}

TEST_F(OutputsTest, AVectorThatTheReadOverwritesIsTakenAsItWas) {
  memory_.put(kSecond, std::array<uint64_t, 2>{kSecond, 16});
  const EntryState entry = at_entry({nr::readv, {3, kSecond, 1}}, memory_);
  memory_.put(kSecond, std::array<uint64_t, 2>{0x4141414141414141, 0x4141414141414141});
  EXPECT_THAT(outputs(entry, 16, memory_).ranges, ElementsAre(bytes_at(kSecond, 16)));
}

TEST_F(OutputsTest, AnAddressIsCutToTheRoomThereWas) {
  memory_.put<uint32_t>(kSecond, 10);
  const EntryState entry = at_entry({nr::accept4, {3, kBuffer, kSecond, 0}}, memory_);
  memory_.put<uint32_t>(kSecond, 16);
  EXPECT_THAT(outputs(entry, 4, memory_).ranges,
              ElementsAre(bytes_at(kBuffer, 10), bytes_at(kSecond, 4)));
  memory_.put<uint32_t>(kSecond, 2);
  EXPECT_THAT(outputs(entry, 4, memory_).ranges,
              ElementsAre(bytes_at(kBuffer, 2), bytes_at(kSecond, 4)));
}

TEST_F(OutputsTest, AMessageWritesItsHeaderNameDataAndControl) {
  msghdr header{};
  header.msg_name = reinterpret_cast<void*>(kThird);
  header.msg_namelen = 200;
  header.msg_iov = reinterpret_cast<iovec*>(kThird + 0x1000);
  header.msg_iovlen = 1;
  header.msg_control = reinterpret_cast<void*>(kThird + 0x2000);
  header.msg_controllen = 100;
  memory_.put(kSecond, header);
  memory_.put(kThird + 0x1000, std::array<uint64_t, 2>{kBuffer, 30});
  const EntryState entry = at_entry({nr::recvmsg, {3, kSecond, 0}}, memory_);
  header.msg_namelen = 16;
  header.msg_controllen = 32;
  memory_.put(kSecond, header);
  EXPECT_THAT(outputs(entry, 50, memory_).ranges,
              ElementsAre(bytes_at(kBuffer, 30), bytes_at(kSecond, 56), bytes_at(kThird, 128),
                          bytes_at(kThird + 0x2000, 32)));
  EXPECT_THAT(outputs(entry, -EAGAIN, memory_).ranges, IsEmpty());
}

TEST_F(OutputsTest, PollAndSleepWriteThoughASignalEndsThem) {
  EXPECT_THAT(ranges({nr::poll, {kBuffer, 3, 100}}, -514), ElementsAre(bytes_at(kBuffer, 24)));
  EXPECT_THAT(ranges({nr::nanosleep, {kBuffer, kSecond}}, -516),
              ElementsAre(bytes_at(kSecond, 16)));
  EXPECT_THAT(ranges({nr::select, {70, kBuffer, 0, 0, 0}}, 1), ElementsAre(bytes_at(kBuffer, 16)));
  EXPECT_THAT(ranges({nr::select, {70, kBuffer, 0, 0, kSecond}}, -514),
              ElementsAre(bytes_at(kSecond, 16)));
}

TEST_F(OutputsTest, CountsAreThirtyTwoBits) {
  const Call call{nr::epoll_wait, {3, kBuffer, 0xffffffff00000002, 0}};
  EXPECT_THAT(ranges(call, 5), ElementsAre(bytes_at(kBuffer, 24)));
}

TEST_F(OutputsTest, CommandsDecideWhatIsWritten) {
  EXPECT_THAT(ranges({nr::fcntl, {3, F_GETLK, kBuffer}}, 0), ElementsAre(bytes_at(kBuffer, 32)));
  EXPECT_THAT(ranges({nr::fcntl, {3, F_GETFL, kBuffer}}, 2), IsEmpty());
  EXPECT_THAT(ranges({nr::prctl, {PR_GET_NAME, kBuffer}}, 0), ElementsAre(bytes_at(kBuffer, 16)));
  EXPECT_THAT(ranges({nr::futex, {kBuffer, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1}}, 0), IsEmpty());
  EXPECT_THAT(ranges({nr::futex, {kBuffer, FUTEX_LOCK_PI, 1}}, -EINTR),
              ElementsAre(bytes_at(kBuffer, 4)));
  EXPECT_THAT(ranges({nr::ioctl, {0, 0x5413, kBuffer}}, 0), ElementsAre(bytes_at(kBuffer, 8)));
  EXPECT_THAT(ranges({nr::ioctl, {0, 0x5413, kBuffer}}, -ENOTTY), IsEmpty());
}

TEST_F(OutputsTest, UnknownThingsAreSaidToBe) {
  EXPECT_FALSE(of({9999, {}}, 0).complete);
  EXPECT_TRUE(of({9999, {}}, -ENOSYS).complete);
  EXPECT_FALSE(of({nr::fcntl, {3, 5555, kBuffer}}, 0).complete);
  EXPECT_TRUE(of({nr::fcntl, {3, 5555, kBuffer}}, -EINVAL).complete);
  EXPECT_FALSE(of({nr::restart_syscall, {}}, 0).complete);
  // _IOR('z', 1, 20 bytes)
  const Outputs unknown = of({nr::ioctl, {3, 0x80147a01, kBuffer}}, 0);
  EXPECT_FALSE(unknown.complete);
  EXPECT_THAT(unknown.ranges, ElementsAre(bytes_at(kBuffer, 20)));
  EXPECT_THAT(unknown.doubt, ::testing::HasSubstr("0x80147a01"));
  EXPECT_TRUE(of({nr::ioctl, {3, 0x80147a01, kBuffer}}, -ENOTTY).complete);
}

TEST_F(OutputsTest, NullAndUnreadablePointersAreHarmless) {
  constexpr uint64_t kNowhere = 0x7fff00000000;
  for (const Syscall& row : all()) {
    for (const uint64_t value : {uint64_t{0}, kNowhere, ~uint64_t{0}, uint64_t{1} << 63}) {
      Call call{row.number, {}};
      call.arguments.fill(value);
      for (const int64_t result : {0, 1, 100000, -EFAULT, -EINVAL, -516}) {
        for (const AddressRange& range : ranges(call, result)) {
          EXPECT_LT(range.begin, range.end) << row.name;
        }
      }
    }
  }
}

TEST_F(OutputsTest, RangesAreSortedAndMerged) {
  EXPECT_THAT(ranges({nr::getresuid, {kBuffer + 8, kBuffer, kBuffer + 4}}, 0),
              ElementsAre(bytes_at(kBuffer, 12)));
}

}  // namespace
}  // namespace rchk::syscalls
