// What calls do to the address space and to descriptors, and how they read in a dump.

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "engine/syscalls/address_space.h"
#include "engine/syscalls/describe.h"
#include "engine/syscalls/descriptors.h"
#include "tests/unit/engine_syscalls/fake_memory.h"

namespace rchk::syscalls {
namespace {

using test::FakeMemory;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kBase = 0x7f0000000000;

AddressSpaceEffects effects(Call call, int64_t result, uint64_t previous_break = 0) {
  return address_space_effects(call, result, {previous_break});
}
AddressRange pages(uint64_t first, uint64_t count) {
  return range_of({kBase + first * kPageSize}, count * kPageSize);
}

TEST(AddressSpace, MmapRoundsToPagesAndNamesItsFile) {
  MapEffect expected;
  expected.range = pages(0, 2);
  expected.protection = PROT_READ;
  expected.shared = true;
  expected.backing = Backing::kDescriptor;
  expected.descriptor = 5;
  expected.offset_bytes = 0x3000;
  EXPECT_THAT(effects({nr::mmap, {0, 5000, PROT_READ, MAP_SHARED, 5, 0x3000}}, kBase).effects,
              ElementsAre(AddressSpaceEffect(expected)));
}

TEST(AddressSpace, MmapOfHugePagesRoundsToThem) {
  const auto found =
      effects({nr::mmap, {0, 1, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, ~0ull, 0}}, kBase);
  EXPECT_EQ(std::get<MapEffect>(found.effects.at(0)).range, pages(0, 512));
}

TEST(AddressSpace, AFixedMmapThatFailsMayHaveUnmapped) {
  const uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_TRUE(effects({nr::mmap, {kBase, 1, 3, flags | MAP_FIXED, 0, 0}}, -ENOMEM).reread_maps);
  EXPECT_FALSE(effects({nr::mmap, {kBase, 1, 3, flags, 0, 0}}, -ENOMEM).reread_maps);
}

TEST(AddressSpace, BrkGrowsAndShrinksByWholePages) {
  EXPECT_THAT(effects({nr::brk, {0}}, kBase + 100, kBase + 100).effects, IsEmpty());
  EXPECT_THAT(effects({nr::brk, {0}}, kBase + 200, kBase + 100).effects, IsEmpty());
  const auto grown = effects({nr::brk, {0}}, kBase + 3 * kPageSize, kBase + 100);
  EXPECT_EQ(std::get<MapEffect>(grown.effects.at(0)).range, pages(1, 2));
  EXPECT_TRUE(std::get<MapEffect>(grown.effects.at(0)).heap);
  EXPECT_THAT(effects({nr::brk, {0}}, kBase + 100, kBase + 3 * kPageSize).effects,
              ElementsAre(AddressSpaceEffect(UnmapEffect{pages(1, 2)})));
}

TEST(AddressSpace, MremapMovesGrowsAndKeeps) {
  const auto moved = kBase + 100 * kPageSize;
  EXPECT_THAT(effects({nr::mremap, {kBase, 4096, 8192, MREMAP_MAYMOVE, 0}}, moved).effects,
              ElementsAre(AddressSpaceEffect(RemapEffect{pages(0, 1), pages(100, 2), false})));
  EXPECT_THAT(effects({nr::mremap, {kBase, 4096, 4096, MREMAP_MAYMOVE | 4, 0}}, moved).effects,
              ElementsAre(AddressSpaceEffect(RemapEffect{pages(0, 1), pages(100, 1), true})));
  EXPECT_THAT(effects({nr::mremap, {kBase, 4096, 4096, 0, 0}}, kBase).effects, IsEmpty());
  EXPECT_TRUE(effects({nr::mremap, {kBase, 0, 4096, MREMAP_MAYMOVE, 0}}, moved).reread_maps);
  EXPECT_TRUE(effects({nr::mremap, {kBase, 4096, 4096, 3, moved}}, -ENOMEM).reread_maps);
}

TEST(AddressSpace, MprotectThatFailsHalfWayIsReread) {
  EXPECT_THAT(effects({nr::mprotect, {kBase, 10, PROT_READ | PROT_GROWSDOWN}}, 0).effects,
              ElementsAre(AddressSpaceEffect(ProtectEffect{pages(0, 1), PROT_READ, true})));
  EXPECT_TRUE(effects({nr::mprotect, {kBase, 10, PROT_READ}}, -ENOMEM).reread_maps);
  EXPECT_FALSE(effects({nr::mprotect, {kBase, 10, PROT_READ}}, -EINVAL).reread_maps);
}

TEST(AddressSpace, MadviseDiscardsAlsoAroundHoles) {
  const Call call{nr::madvise, {kBase, 8192, MADV_DONTNEED}};
  const AddressSpaceEffect discard(DiscardEffect{pages(0, 2), Refill::kFresh});
  EXPECT_THAT(effects(call, 0).effects, ElementsAre(discard));
  EXPECT_THAT(effects(call, -ENOMEM).effects, ElementsAre(discard));
  EXPECT_THAT(effects(call, -EINVAL).effects, IsEmpty());
  EXPECT_THAT(effects(call, -EINVAL).doubtful_contents, ElementsAre(pages(0, 2)));
  EXPECT_THAT(effects({nr::madvise, {kBase, 8192, MADV_REMOVE}}, 0).effects,
              ElementsAre(AddressSpaceEffect(DiscardEffect{pages(0, 2), Refill::kZero})));
  EXPECT_THAT(effects({nr::madvise, {kBase, 8192, MADV_WILLNEED}}, 0).effects, IsEmpty());
  EXPECT_THAT(effects({nr::madvise, {kBase, 4096, MADV_WIPEONFORK}}, 0).effects,
              ElementsAre(AddressSpaceEffect(ForkAdviceEffect{pages(0, 1), ForkAdvice::kWipe})));
}

class DescriptorsTest : public ::testing::Test {
 protected:
  std::vector<DescriptorChange> changes(Call call, int64_t result) {
    return descriptor_changes(EntryState{call, {}}, result, memory_);
  }
  FakeMemory memory_;
};

TEST_F(DescriptorsTest, OpeningCallsSayWhetherExecCloses) {
  EXPECT_THAT(changes({nr::openat, {0, 0, O_CLOEXEC}}, 5),
              ElementsAre(DescriptorChange(DescriptorOpened{5, true})));
  EXPECT_THAT(changes({nr::openat, {0, 0, O_RDWR}}, 5),
              ElementsAre(DescriptorChange(DescriptorOpened{5, false})));
  EXPECT_THAT(changes({nr::openat, {0, 0, O_RDWR}}, -ENOENT), IsEmpty());
  EXPECT_THAT(changes({nr::socket, {1, SOCK_STREAM | SOCK_CLOEXEC}}, 6),
              ElementsAre(DescriptorChange(DescriptorOpened{6, true})));
  EXPECT_THAT(changes({nr::signalfd4, {4, 0}}, 4), IsEmpty());
}

TEST_F(DescriptorsTest, DuplicatesNameTheirSource) {
  EXPECT_THAT(changes({nr::dup2, {1, 7}}, 7),
              ElementsAre(DescriptorChange(DescriptorDuplicated{1, 7, false})));
  EXPECT_THAT(changes({nr::dup2, {1, 1}}, 1), IsEmpty());
  EXPECT_THAT(changes({nr::fcntl, {1, F_DUPFD_CLOEXEC, 10}}, 10),
              ElementsAre(DescriptorChange(DescriptorDuplicated{1, 10, true})));
}

TEST_F(DescriptorsTest, CloseClosesEvenWhenItFails) {
  const DescriptorChange closed(DescriptorsClosed{3, 3});
  EXPECT_THAT(changes({nr::close, {3}}, 0), ElementsAre(closed));
  EXPECT_THAT(changes({nr::close, {3}}, -EIO), ElementsAre(closed));
  EXPECT_THAT(changes({nr::close, {3}}, -EBADF), IsEmpty());
  EXPECT_THAT(changes({nr::close_range, {3, ~0u, 0}}, 0),
              ElementsAre(DescriptorChange(DescriptorsClosed{3, ~0u})));
  EXPECT_THAT(changes({nr::close_range, {3, ~0u, 4}}, 0),
              ElementsAre(DescriptorChange(CloseOnExecChanged{3, ~0u, true})));
}

TEST_F(DescriptorsTest, PairsAndPassedDescriptorsAreReadFromMemory) {
  memory_.put(0x1000, std::array<int32_t, 2>{8, 9});
  EXPECT_THAT(changes({nr::pipe2, {0x1000, O_CLOEXEC}}, 0),
              ElementsAre(DescriptorChange(DescriptorOpened{8, true}),
                          DescriptorChange(DescriptorOpened{9, true})));
  struct {
    uint64_t length;  // struct cmsghdr
    int32_t level, type;
    int32_t descriptors[2];
  } control{sizeof(cmsghdr) + 8, SOL_SOCKET, SCM_RIGHTS, {11, 12}};
  memory_.put(0x2000, control);
  msghdr message{};
  message.msg_control = reinterpret_cast<void*>(0x2000);
  message.msg_controllen = sizeof(control);
  memory_.put(0x3000, message);
  EXPECT_THAT(changes({nr::recvmsg, {3, 0x3000, 0}}, 1),
              ElementsAre(DescriptorChange(DescriptorOpened{11, false}),
                          DescriptorChange(DescriptorOpened{12, false})));
  control.length = 3;  // shorter than a header
  memory_.put(0x2000, control);
  EXPECT_THAT(changes({nr::recvmsg, {3, 0x3000, 0}}, 1), IsEmpty());
}

TEST_F(DescriptorsTest, WrittenDataIsFoundInOrder) {
  const auto plain = data_written({nr::write, {1, 0x5000, 100}}, 60, memory_);
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->descriptor, 1);
  EXPECT_THAT(plain->ranges, ElementsAre(range_of({0x5000}, 60)));
  memory_.put(0x4000, std::array<uint64_t, 4>{0x5000, 10, 0x6000, 50});
  const auto vector = data_written({nr::writev, {2, 0x4000, 2}}, 25, memory_);
  ASSERT_TRUE(vector.has_value());
  EXPECT_THAT(vector->ranges, ElementsAre(range_of({0x5000}, 10), range_of({0x6000}, 15)));
  const auto sent = data_written({nr::sendfile, {1, 4, 0, 100}}, 100, memory_);
  ASSERT_TRUE(sent.has_value());
  EXPECT_EQ(sent->source, 4);
  EXPECT_THAT(sent->ranges, IsEmpty());
  EXPECT_FALSE(data_written({nr::write, {1, 0x5000, 100}}, -EPIPE, memory_).has_value());
  EXPECT_FALSE(data_written({nr::read, {1, 0x5000, 100}}, 100, memory_).has_value());
}

TEST_F(DescriptorsTest, ChangedFilesAreNamed) {
  EXPECT_EQ(changed_file({nr::ftruncate, {6, 0}}, 0), 6);
  EXPECT_EQ(changed_file({nr::copy_file_range, {6, 0, 7}}, 10), 7);
  EXPECT_EQ(changed_file({nr::read, {6}}, 10), std::nullopt);
  EXPECT_EQ(changed_file({nr::openat, {6, 0, O_RDWR | O_TRUNC}}, 7), 7);
  EXPECT_EQ(changed_file({nr::openat, {6, 0, O_RDWR}}, 7), std::nullopt);
  EXPECT_EQ(changed_file({nr::creat, {0}}, -EACCES), std::nullopt);
  EXPECT_EQ(changed_path({nr::truncate, {0x1000, 5}}, 0), GuestAddress{0x1000});
  EXPECT_EQ(changed_path({nr::truncate, {0x1000, 5}}, -ENOENT), std::nullopt);
  EXPECT_TRUE(only_resizes({nr::ftruncate, {6, 0}}));
  EXPECT_FALSE(only_resizes({nr::fallocate, {6, 0}}));
}

TEST(Describe, ShowsArgumentsByKind) {
  FakeMemory memory;
  memory.put_text(0x1000, std::string_view("/etc/passwd\0", 12));
  const Call open{nr::openat, {static_cast<uint64_t>(AT_FDCWD), 0x1000, O_CLOEXEC, 0}};
  EXPECT_EQ(describe_call(open, 3, &memory), "openat(AT_FDCWD, \"/etc/passwd\", 0x80000, 0) = 3");
  EXPECT_EQ(describe_call(open, -ENOENT), "openat(AT_FDCWD, 0x1000, 0x80000, 0) = -ENOENT");
  EXPECT_EQ(describe_call({nr::kill, {1, 9}}), "kill(1, SIGKILL)");
  EXPECT_EQ(describe_call({nr::ioctl, {0, 0x5413, 0x2000}}, 0), "ioctl(0, TIOCGWINSZ, 0x2000) = 0");
  EXPECT_EQ(describe_call({nr::mmap, {0, 4096, 3, 0x22, ~0ull, 0}}, kBase),
            "mmap(NULL, 4096, 0x3, 0x22, -1, 0) = 0x7f0000000000");
  memory.put_text(0x3000, "a\"\n\x01z");
  EXPECT_EQ(describe_call({nr::write, {1, 0x3000, 5}}, 5, &memory),
            "write(1, \"a\\\"\\n\\x01z\", 5) = 5");
  EXPECT_EQ(describe_call({999, {1, 2}}, 0), "syscall_999(0x1, 0x2, 0x0, 0x0, 0x0, 0x0) = 0");
}

TEST(Describe, NamesErrorsAndSignals) {
  EXPECT_EQ(errno_name(2), "ENOENT");
  EXPECT_EQ(errno_name(516), "ERESTART_RESTARTBLOCK");
  EXPECT_EQ(errno_name(4000), "errno 4000");
  EXPECT_EQ(signal_name(11), "SIGSEGV");
  EXPECT_EQ(signal_name(34), "SIGRTMIN+2");
  EXPECT_EQ(signal_name(99), "signal 99");
}

}  // namespace
}  // namespace rchk::syscalls
