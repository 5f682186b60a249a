#include <cerrno>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "engine/syscalls/ioctl.h"
#include "engine/syscalls/syscall.h"

namespace rchk::syscalls {
namespace {

// The numbers of the kernel headers that are installed: "#define __NR_read 0".
std::map<int32_t, std::string> numbers_of_headers() {
  std::map<int32_t, std::string> numbers;
  for (const char* path :
       {"/usr/include/asm/unistd_64.h", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"}) {
    std::ifstream header(path);
    for (std::string line; std::getline(header, line);) {
      std::istringstream words(line);
      std::string define, symbol;
      int32_t number = 0;
      if (!(words >> define >> symbol >> number)) continue;
      if (define == "#define" && symbol.starts_with("__NR_")) numbers[number] = symbol.substr(5);
    }
  }
  return numbers;
}

TEST(Table, HasEveryCallOfTheHeaders) {
  const auto numbers = numbers_of_headers();
  ASSERT_GT(numbers.size(), 350u) << "no usable asm/unistd_64.h";
  for (const auto& [number, expected] : numbers) {
    ASSERT_NE(find(number), nullptr) << number << " " << expected;
    EXPECT_EQ(find(number)->name, expected) << number;
  }
}

TEST(Table, IsSortedWithoutDuplicates) {
  int32_t last = -1;
  std::set<std::string_view> names;
  for (const Syscall& row : all()) {
    EXPECT_GT(row.number, last) << row.name;
    last = row.number;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(find(row.number), &row);
    EXPECT_EQ(name(row.number), row.name);
  }
}

TEST(Table, ArgumentsReferToArgumentsOfTheSameCall) {
  for (const Syscall& row : all()) {
    const size_t count = row.argument_count();
    for (size_t i = 0; i < kMaxArguments; ++i) {
      EXPECT_EQ(row.arguments[i].kind != ArgumentKind::kAbsent, i < count) << row.name << " " << i;
    }
    for (const Argument& argument : row.arguments) {
      EXPECT_TRUE(argument.other == 0 || argument.other < count) << row.name;
      switch (argument.kind) {
        case ArgumentKind::kOutput:
        case ArgumentKind::kOutputAlways:
          EXPECT_GT(argument.bytes, 0) << row.name;
          break;
        case ArgumentKind::kFilled:
        case ArgumentKind::kSized:
        case ArgumentKind::kFilledVector:
        case ArgumentKind::kData:
        case ArgumentKind::kDataVector: {
          const ArgumentKind length = row.arguments[argument.other].kind;
          EXPECT_TRUE(length == ArgumentKind::kSize || length == ArgumentKind::kCount) << row.name;
          break;
        }
        case ArgumentKind::kWithLength:
          EXPECT_EQ(row.arguments[argument.other].kind, ArgumentKind::kOutputAlways) << row.name;
          break;
        case ArgumentKind::kByCode:
          EXPECT_NE(row.code, nullptr) << row.name;
          break;
        default:
          break;
      }
    }
  }
}

TEST(Table, RefusedRowsHaveAnErrno) {
  for (const Syscall& row : all()) {
    EXPECT_EQ(row.call_class == Class::kRefused, row.refused_errno != 0) << row.name;
    if (row.call_class == Class::kRefused) {
      EXPECT_EQ(refusal({row.number, {}}), row.refused_errno) << row.name;
    }
  }
}

TEST(Table, KnowsClasses) {
  EXPECT_EQ(find(nr::read)->call_class, Class::kBlocks);
  EXPECT_EQ(find(nr::mmap)->call_class, Class::kAddressSpace);
  EXPECT_EQ(find(nr::clone3)->call_class, Class::kLife);
  EXPECT_EQ(find(nr::rt_sigaction)->call_class, Class::kSignals);
  EXPECT_EQ(find(nr::io_uring_setup)->refused_errno, ENOSYS);
}

TEST(Table, DoesNotKnowOtherNumbers) {
  for (const int32_t number : {-1, 337, 423, 500, 511, 512, 100000, 0x40000000}) {
    EXPECT_EQ(find(number), nullptr) << number;
    EXPECT_FALSE(refusal({number, {}}).has_value());
  }
  EXPECT_EQ(name(100000), "syscall_100000");
}

TEST(Refusal, IsAlsoOfSubFunctions) {
  EXPECT_EQ(refusal({nr::madvise, {0, 4096, MADV_FREE}}), EINVAL);
  EXPECT_EQ(refusal({nr::madvise, {0, 4096, MADV_DONTNEED}}), std::nullopt);
  EXPECT_EQ(refusal({nr::process_madvise, {3, 0, 1, MADV_DONTNEED}}), EINVAL);
  EXPECT_EQ(refusal({nr::process_madvise, {3, 0, 1, MADV_COLD}}), std::nullopt);
  EXPECT_EQ(refusal({nr::prctl, {PR_SET_SECCOMP, 2}}), EINVAL);
  EXPECT_EQ(refusal({nr::prctl, {PR_SET_NAME, 0}}), std::nullopt);
  EXPECT_EQ(refusal({nr::prctl, {PR_SET_MM, PR_SET_MM_BRK}}), EPERM);
  EXPECT_EQ(refusal({nr::arch_prctl, {0x1012, 0}}), ENODEV);
  EXPECT_EQ(refusal({nr::arch_prctl, {0x1002, 0}}), std::nullopt);
  EXPECT_EQ(refusal({nr::arch_prctl, {0x5001, 1}}), EINVAL);
}

TEST(Ioctls, HaveUniqueNumbersThatAgreeWithTheHeaders) {
  std::set<uint32_t> requests;
  for (const Ioctl& row : all_ioctls()) {
    EXPECT_TRUE(requests.insert(row.request).second) << row.name;
    EXPECT_EQ(find_ioctl(row.request), &row);
    // A number that says how much is read says no less than the table. TUNGETIFF's is wrong: it
    // says an int and stores a struct ifreq (drivers/net/tun.c).
    if (row.name != "TUNGETIFF" && (_IOC_DIR(row.request) & _IOC_READ) != 0) {
      EXPECT_LE(row.bytes, _IOC_SIZE(row.request)) << row.name;
    }
  }
#define EXPECT_REQUEST(symbol)                       \
  ASSERT_NE(find_ioctl(symbol), nullptr) << #symbol; \
  EXPECT_EQ(find_ioctl(symbol)->name, #symbol)
  EXPECT_REQUEST(TCGETS);
  EXPECT_REQUEST(TIOCGWINSZ);
  EXPECT_REQUEST(TIOCGPGRP);
  EXPECT_REQUEST(TIOCGPTN);
  EXPECT_REQUEST(FIONREAD);
  EXPECT_REQUEST(FIOCLEX);
  EXPECT_REQUEST(FIOQSIZE);
  EXPECT_REQUEST(FS_IOC_GETFLAGS);
  EXPECT_REQUEST(FS_IOC_FSGETXATTR);
  EXPECT_REQUEST(FS_IOC_GETFSLABEL);
  EXPECT_REQUEST(BLKGETSIZE64);
  EXPECT_REQUEST(BLKSSZGET);
  EXPECT_REQUEST(BLKROTATIONAL);
  EXPECT_REQUEST(FITRIM);
  EXPECT_REQUEST(SIOCGIFMTU);
  EXPECT_REQUEST(SIOCGIFHWADDR);
  EXPECT_REQUEST(SIOCOUTQNSD);
  EXPECT_REQUEST(SIOCGSTAMP_OLD);
#undef EXPECT_REQUEST
  EXPECT_EQ(find_ioctl(0x12345678), nullptr);
}

}  // namespace
}  // namespace rchk::syscalls
