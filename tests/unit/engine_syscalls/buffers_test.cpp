#include "engine/syscalls/buffers.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine_syscalls/fake_memory.h"

namespace rchk::syscalls {
namespace {

using test::FakeMemory;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kBuffer = 0x10000, kSecond = 0x20000, kThird = 0x30000, kFourth = 0x40000;

AddressRange bytes_at(uint64_t address, uint64_t bytes) { return range_of({address}, bytes); }
CallBuffer counted(uint64_t address, uint64_t bytes) {
  return {bytes_at(address, bytes), BufferUse::kCounted};
}
CallBuffer changed(uint64_t address, uint64_t bytes) {
  return {bytes_at(address, bytes), BufferUse::kChanged};
}
CallBuffer only_read(uint64_t address, uint64_t bytes) {
  return {bytes_at(address, bytes), BufferUse::kRead};
}
BufferPointer in_argument(size_t buffer, size_t argument) { return {buffer, argument, 0, 0}; }
BufferPointer in_buffer(size_t buffer, size_t holder, uint64_t offset_bytes) {
  return {buffer, std::nullopt, holder, offset_bytes};
}

class BuffersTest : public ::testing::Test {
 protected:
  BuffersTest() {
    for (const uint64_t address : {kBuffer, kSecond, kThird, kFourth}) memory_.map(address, 0x8000);
  }
  std::optional<CallBuffers> of(Call call) { return buffers_of(call, memory_); }
  void put_iovecs(uint64_t address, std::vector<std::pair<uint64_t, uint64_t>> parts) {
    for (const auto& [base, bytes] : parts) {
      memory_.put(address, base);
      memory_.put(address + 8, bytes);
      address += 16;
    }
  }

  FakeMemory memory_;
};

TEST_F(BuffersTest, AReadHasOneBufferThatTheResultCounts) {
  for (const int32_t number : {nr::read, nr::pread64}) {
    const auto found = of({number, {3, kBuffer, 100}});
    ASSERT_TRUE(found);
    EXPECT_THAT(found->buffers, ElementsAre(counted(kBuffer, 100)));
    EXPECT_THAT(found->pointers, ElementsAre(in_argument(0, 1)));
    EXPECT_THAT(counted_parts(*found, 40), ElementsAre(bytes_at(kBuffer, 40)));
    EXPECT_THAT(counted_parts(*found, 0), IsEmpty());
    EXPECT_THAT(counted_parts(*found, -EFAULT), IsEmpty());
    // No result makes a part reach out of its buffer.
    EXPECT_THAT(counted_parts(*found, 4000), ElementsAre(bytes_at(kBuffer, 100)));
  }
}

TEST_F(BuffersTest, WhereNothingIsStoredThereIsNothing) {
  EXPECT_FALSE(of({nr::read, {3, kBuffer, 0}}));
  EXPECT_FALSE(of({nr::read, {3, 0, 100}}));
  EXPECT_FALSE(of({nr::write, {3, kBuffer, 100}}));
  EXPECT_FALSE(of({nr::ioctl, {3, 0x5401, kBuffer}}));
  EXPECT_FALSE(of({nr::accept, {3, 0, 0}}));
  EXPECT_FALSE(of({nr::wait4, {1, 0, 0, 0}}));
  EXPECT_FALSE(of({12345, {1, 2, 3}}));
}

TEST_F(BuffersTest, CallsThatSayThatTheyDoNotWaitHaveNone) {
  EXPECT_FALSE(of({nr::recvfrom, {3, kBuffer, 100, MSG_DONTWAIT}}));
  EXPECT_FALSE(of({nr::poll, {kBuffer, 1, 0}}));
  EXPECT_FALSE(of({nr::epoll_wait, {3, kBuffer, 1, 0}}));
  EXPECT_FALSE(of({nr::wait4, {1, kBuffer, WNOHANG, 0}}));
  EXPECT_TRUE(of({nr::poll, {kBuffer, 1, ~0ull}}));
}

TEST_F(BuffersTest, WhatTheKernelRefusesHasNone) {
  EXPECT_FALSE(of({nr::epoll_wait, {3, kBuffer, 0, ~0ull}}));
  EXPECT_FALSE(of({nr::select, {~0ull, kBuffer, 0, 0, 0}}));
  EXPECT_FALSE(of({nr::readv, {3, kBuffer, 1025}}));
  EXPECT_FALSE(of({nr::readv, {3, 0x99000000, 1}}));    // iovecs that cannot be read
  EXPECT_FALSE(of({nr::recvmsg, {3, 0x99000000, 0}}));  // nor this header
  memory_.put(kSecond, int32_t{-1});
  EXPECT_FALSE(of({nr::accept, {3, kBuffer, kSecond}}));
}

TEST_F(BuffersTest, AddressesOfSocketsGoWithTheirLengths) {
  memory_.put(kThird, int32_t{16});
  const auto found = of({nr::recvfrom, {3, kBuffer, 100, 0, kSecond, kThird}});
  ASSERT_TRUE(found);
  EXPECT_THAT(found->buffers,
              ElementsAre(counted(kBuffer, 100), changed(kSecond, 16), changed(kThird, 4)));
  EXPECT_THAT(found->pointers,
              ElementsAre(in_argument(0, 1), in_argument(1, 4), in_argument(2, 5)));
  // Protocols count what they do not store then.
  const auto cut = of({nr::recvfrom, {3, kBuffer, 100, MSG_TRUNC}});
  ASSERT_TRUE(cut);
  EXPECT_THAT(cut->buffers, ElementsAre(changed(kBuffer, 100)));
}

TEST_F(BuffersTest, IovecsAreFilledInOrder) {
  put_iovecs(kThird, {{kSecond, 10}, {kFourth, 0}, {kBuffer, 20}});
  const auto found = of({nr::readv, {3, kThird, 3}});
  ASSERT_TRUE(found);
  EXPECT_THAT(found->buffers,
              ElementsAre(only_read(kThird, 48), counted(kSecond, 10), counted(kBuffer, 20)));
  EXPECT_THAT(found->pointers,
              ElementsAre(in_buffer(1, 0, 0), in_buffer(2, 0, 32), in_argument(0, 1)));
  EXPECT_THAT(counted_parts(*found, 13), ElementsAre(bytes_at(kSecond, 10), bytes_at(kBuffer, 3)));
}

TEST_F(BuffersTest, BuffersThatOverlapAreLeftAlone) {
  put_iovecs(kThird, {{kBuffer, 10}, {kBuffer + 9, 20}});
  EXPECT_FALSE(of({nr::readv, {3, kThird, 2}}));
  put_iovecs(kThird, {{kThird + 16, 16}, {kBuffer, 20}});  // the array itself
  EXPECT_FALSE(of({nr::readv, {3, kThird, 2}}));
}

TEST_F(BuffersTest, AMessageHasANameIovecsAndControlData) {
  msghdr header{};
  header.msg_name = reinterpret_cast<void*>(kSecond);
  header.msg_namelen = 28;
  header.msg_iov = reinterpret_cast<iovec*>(kThird);
  header.msg_iovlen = 1;
  header.msg_control = reinterpret_cast<void*>(kFourth);
  header.msg_controllen = 64;
  memory_.put(kBuffer, header);
  put_iovecs(kThird, {{kBuffer + 0x1000, 10}});
  const auto found = of({nr::recvmsg, {3, kBuffer, 0}});
  ASSERT_TRUE(found);
  EXPECT_THAT(found->buffers,
              ElementsAre(changed(kBuffer, 56), changed(kSecond, 28), only_read(kThird, 16),
                          counted(kBuffer + 0x1000, 10), changed(kFourth, 64)));
  EXPECT_THAT(found->pointers,
              ElementsAre(in_argument(0, 1), in_buffer(1, 0, 0), in_buffer(3, 2, 0),
                          in_buffer(2, 0, 16), in_buffer(4, 0, 32)));
}

TEST_F(BuffersTest, OfSeveralMessagesTheResultCountsNoBytes) {
  msghdr header{};
  header.msg_iov = reinterpret_cast<iovec*>(kThird);
  header.msg_iovlen = 1;
  memory_.put(kBuffer, header);
  header.msg_iov = reinterpret_cast<iovec*>(kThird + 16);
  memory_.put(kBuffer + 64, header);
  put_iovecs(kThird, {{kSecond, 10}, {kSecond + 10, 10}});
  const auto found = of({nr::recvmmsg, {3, kBuffer, 2, 0, 0}});
  ASSERT_TRUE(found);
  EXPECT_THAT(found->buffers,
              ElementsAre(changed(kBuffer, 128), only_read(kThird, 16), changed(kSecond, 10),
                          only_read(kThird + 16, 16), changed(kSecond + 10, 10)));
  EXPECT_THAT(counted_parts(*found, 2), IsEmpty());
}

TEST_F(BuffersTest, EventsOfEpollAndMessagesOfQueuesHaveTheirSizes) {
  const auto events = of({nr::epoll_wait, {3, kBuffer, 8, ~0ull}});
  ASSERT_TRUE(events);
  EXPECT_THAT(events->buffers, ElementsAre(counted(kBuffer, 96)));
  EXPECT_THAT(counted_parts(*events, 2), ElementsAre(bytes_at(kBuffer, 24)));
  const auto message = of({nr::msgrcv, {3, kBuffer, 100, 0, 0}});
  ASSERT_TRUE(message);
  EXPECT_THAT(counted_parts(*message, 5), ElementsAre(bytes_at(kBuffer, 13)));
}

TEST_F(BuffersTest, TimeOutsThatAreOnlyLookedAtAreKnown) {
  const CallBuffer time_out{bytes_at(kThird, 16), BufferUse::kTimeOut};
  const auto waits = of({nr::rt_sigtimedwait, {kBuffer, 0, kThird, 8}});
  ASSERT_TRUE(waits);
  EXPECT_THAT(waits->buffers, ElementsAre(time_out));
  EXPECT_THAT(waits->pointers, ElementsAre(in_argument(0, 2)));
  const auto semaphores = of({nr::semtimedop, {1, kBuffer, 1, kThird}});
  ASSERT_TRUE(semaphores);
  EXPECT_THAT(semaphores->pointers, ElementsAre(in_argument(0, 3)));
  EXPECT_FALSE(of({nr::semtimedop, {1, kBuffer, 1, 0}}));
  const auto events = of({nr::epoll_pwait2, {3, kBuffer, 1, kThird, 0, 0}});
  ASSERT_TRUE(events);
  EXPECT_THAT(events->buffers, ElementsAre(time_out, counted(kBuffer, 12)));
}

TEST_F(BuffersTest, SetsOfDescriptorsAndTimesAreChanged) {
  const auto set = of({nr::select, {65, kBuffer, 0, kSecond, kThird}});
  ASSERT_TRUE(set);
  EXPECT_THAT(set->buffers,
              ElementsAre(changed(kBuffer, 16), changed(kSecond, 16), changed(kThird, 16)));
  const auto polled = of({nr::ppoll, {kBuffer, 2, kSecond, 0, 8}});
  ASSERT_TRUE(polled);
  EXPECT_THAT(polled->buffers, ElementsAre(changed(kBuffer, 16), changed(kSecond, 16)));
}

}  // namespace
}  // namespace rchk::syscalls
