#include "engine/record/vsyscall_page.h"

#include <cstdlib>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

namespace rchk::record {
namespace {

using Code = std::vector<uint8_t>;

// Not known before the program runs: it would hold such an address itself, and is a guest of
// others.
volatile uint8_t third_byte = 0x60;
uint8_t third() { return third_byte; }

TEST(VsyscallPage, ItsAddressesAreFoundInCodeAndData) {
  const Code found[] = {
      {0x48, 0xc7, 0xc0, 0, 0, third(), 0xff, 0xff, 0xd0},        // mov $..., %rax; call *%rax
      {0x49, 0xc7, 0xc4, 0, 4, third(), 0xff},                    // mov $..., %r12
      {0x48, 0xc7, 0x45, 0xf8, 0, 8, third(), 0xff},              // mov $..., -8(%rbp)
      {0x48, 0xc7, 0x05, 1, 2, 3, 4, 0, 0, third(), 0xff},        // mov $..., 0x4030201(%rip)
      {0x48, 0xc7, 0x84, 0x24, 1, 2, 3, 4, 0, 0, third(), 0xff},  // mov $..., 0x4030201(%rsp)
      {0, 4, third(), 0xff, 0xff, 0xff, 0xff, 0xff},              // a word
  };
  for (const Code& code : found) EXPECT_TRUE(holds_vsyscall_address(code));
  const Code not_found[] = {
      {},
      {third()},
      {0, 0, third()},
      {0, 0, third(), 0xff},
      {0xb8, 0, 0, third(), 0xff, 0xff, 0xd0},  // mov $0xff600000, %eax
      {0x48, 0xc7, 0xc0, 0, 1, third(), 0xff},  // elsewhere in the page
      {0x48, 0xc7, 0xc0, 1, 0, third(), 0xff},
      {0, 4, third(), 0xff, 0xff, 0xff, 0xff, 0x7f},
  };
  for (const Code& code : not_found) EXPECT_FALSE(holds_vsyscall_address(code));
}

TEST(VsyscallPage, ItsAddressesAreFoundInFiles) {
  char name[] = "/tmp/rchk-vsyscall-XXXXXX";
  const FileDescriptor file(mkstemp(name));
  ASSERT_TRUE(file.is_open());
  unlink(name);
  const uint8_t word[] = {0, 0, third(), 0xff, 0xff, 0xff, 0xff, 0xff};
  constexpr uint64_t kSize = 1 << 20;
  ASSERT_EQ(ftruncate(file.get(), kSize), 0);
  VsyscallFinder finder;
  uint32_t id = 0;
  EXPECT_FALSE(finder.finds({id}, file, 0, kSize));
  EXPECT_EQ(finder.known({id}, 0, kSize), false);
  // Around the border of two pieces, too.
  for (uint64_t at = (256 << 10) - 40; at < (256 << 10) + 8; ++at) {
    const uint8_t zeros[8] = {};
    ASSERT_EQ(pwrite(file.get(), word, 8, static_cast<off_t>(at)), 8);
    EXPECT_TRUE(finder.finds({++id}, file, 0, kSize)) << at;
    EXPECT_FALSE(finder.finds({++id}, file, 0, at + 7)) << at;
    EXPECT_FALSE(finder.finds({++id}, file, at + 1, kSize)) << at;
    ASSERT_EQ(pwrite(file.get(), zeros, 8, static_cast<off_t>(at)), 8);
  }
  EXPECT_EQ(finder.known({id}, 0, 1), std::nullopt);
}

}  // namespace
}  // namespace rchk::record
