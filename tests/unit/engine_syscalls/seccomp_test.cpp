#include "engine/syscalls/seccomp.h"

#include <cerrno>
#include <random>

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rchk::syscalls {
namespace {

using Program = std::vector<sock_filter>;

// The kernel's word on a program, and what it makes of some calls.
struct Kernel {
  int error = 0;
  std::vector<int> errors;  // of the calls
};

constexpr int kCalls = 6;
constexpr uint64_t kPatterns[kCalls][3] = {{0, 0, 0},          {1, 2, 3},
                                           {~0ull, 5, 1},      {0x80000000, 1ull << 40, 7},
                                           {4095, 31, 0x1234}, {33, ~0ull >> 1, 1ull << 31}};

seccomp_data data_of(int call) {
  seccomp_data data{};
  data.nr = SYS_getpriority;
  data.arch = AUDIT_ARCH_X86_64;
  for (int i = 0; i < 3; ++i) data.args[i] = kPatterns[call][i];
  return data;
}

Kernel ask_kernel(const Program& program) {
  int channel[2];
  EXPECT_EQ(pipe(channel), 0);
  const pid_t child = fork();
  if (child == 0) {
    Program copy = program;
    sock_fprog header{static_cast<unsigned short>(copy.size()), copy.data()};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int answers[kCalls + 1] = {};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &header) != 0) answers[0] = errno;
    for (int i = 0; answers[0] == 0 && i < kCalls; ++i) {
      errno = 0;
      const auto& arguments = kPatterns[i];
      if (syscall(SYS_getpriority, arguments[0], arguments[1], arguments[2]) >= 0) errno = 0;
      answers[i + 1] = errno;
    }
    static_cast<void>(!write(channel[1], answers, sizeof(answers)));
    _exit(0);
  }
  close(channel[1]);
  int answers[kCalls + 1] = {-1};
  EXPECT_EQ(read(channel[0], answers, sizeof(answers)), static_cast<ssize_t>(sizeof(answers)));
  close(channel[0]);
  waitpid(child, nullptr, 0);
  Kernel kernel;
  kernel.error = answers[0];
  kernel.errors.assign(answers + 1, answers + kCalls + 1);
  return kernel;
}

// A random program that lets all calls but getpriority through and fails that one with what it
// computes. Now and then with something that the kernel does not take.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Program program(bool mostly_valid) {
    valid_ = mostly_valid;
    Program out{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const int length = 4 + pick(20);
    for (int i = 0; i < length; ++i) out.push_back(instruction(length - i));
    out.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff));
    out.push_back(BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO | 1));
    out.push_back(BPF_STMT(BPF_RET | BPF_A, 0));
    return out;
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }
  uint32_t number() { return pick(3) == 0 ? static_cast<uint32_t>(random_()) : pick(40); }

  sock_filter instruction(int left) {
    static constexpr uint16_t kOperations[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,
                                               BPF_AND, BPF_LSH, BPF_RSH, BPF_XOR};
    static constexpr uint16_t kJumps[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET};
    if (!valid_ && pick(12) == 0) {
      return BPF_JUMP(static_cast<uint16_t>(pick(256)), number(), static_cast<uint8_t>(pick(30)),
                      static_cast<uint8_t>(pick(30)));
    }
    switch (pick(9)) {
      case 0:
      case 1:
        // Not the instruction pointer.
        return BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                        4u * static_cast<uint32_t>(pick(3) == 0 ? pick(2) : 4 + pick(6)));
      case 2:
        return BPF_STMT(BPF_MISC | (pick(2) == 0 ? BPF_TAX : BPF_TXA), 0);
      case 3:
        return BPF_STMT(pick(2) == 0 ? BPF_ST : BPF_STX, static_cast<uint32_t>(pick(16)));
      case 4:
        if (pick(4) != 0) return BPF_STMT(BPF_LD | BPF_IMM, number());
        return BPF_STMT(static_cast<uint16_t>((pick(2) == 0 ? BPF_LD : BPF_LDX) | BPF_MEM),
                        static_cast<uint32_t>(pick(16)));
      case 5: {
        const uint16_t jump = kJumps[pick(4)];
        const auto most = std::min(left, 20);
        return BPF_JUMP(static_cast<uint16_t>(BPF_JMP | jump | (pick(2) == 0 ? BPF_X : BPF_K)),
                        number(), static_cast<uint8_t>(pick(most)),
                        static_cast<uint8_t>(pick(most)));
      }
      case 6:
        return BPF_STMT(pick(4) == 0 ? BPF_LDX | BPF_W | BPF_LEN : BPF_LDX | BPF_IMM, number());
      default: {
        const uint16_t operation = kOperations[pick(9)];
        const bool by_x =
            pick(2) == 0 && operation != BPF_DIV && operation != BPF_LSH && operation != BPF_RSH;
        uint32_t k = number();
        if (operation == BPF_LSH || operation == BPF_RSH) k %= 32;
        if (operation == BPF_DIV) k |= 1;
        return BPF_STMT(static_cast<uint16_t>(BPF_ALU | operation | (by_x ? BPF_X : BPF_K)), k);
      }
    }
  }

  std::mt19937_64 random_;
  bool valid_ = true;
};

TEST(Seccomp, FiltersAsTheKernelDoes) {
  int taken = 0, refused = 0;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    const Program program = Generator(seed).program(seed % 3 != 0);
    const Kernel kernel = ask_kernel(program);
    ASSERT_EQ(check_filter(program), kernel.error) << "seed " << seed;
    if (kernel.error != 0) {
      ++refused;
      continue;
    }
    ++taken;
    for (int call = 0; call < kCalls; ++call) {
      const uint32_t result = run_filter(program, data_of(call));
      ASSERT_EQ(result & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ERRNO) << "seed " << seed;
      ASSERT_EQ(static_cast<int>(result & SECCOMP_RET_DATA), kernel.errors[call])
          << "seed " << seed << ", call " << call;
    }
  }
  EXPECT_GT(taken, 100);
  EXPECT_GT(refused, 30);
}

TEST(Seccomp, TheStrictestOfSeveralCountsAndTheNewestOfEqualOnes) {
  const auto returning = [](uint32_t value) { return Program{BPF_STMT(BPF_RET | BPF_K, value)}; };
  Sandbox sandbox;
  ASSERT_EQ(sandbox.add(returning(SECCOMP_RET_ERRNO | 5)), 0);
  const Sandbox older = sandbox;
  ASSERT_EQ(sandbox.add(returning(SECCOMP_RET_ERRNO | 7)), 0);
  ASSERT_EQ(sandbox.add(returning(SECCOMP_RET_TRACE)), 0);
  EXPECT_EQ(sandbox.judge({}).action, static_cast<uint32_t>(SECCOMP_RET_ERRNO));
  EXPECT_EQ(sandbox.judge({}).data, 7);
  ASSERT_EQ(sandbox.add(returning(SECCOMP_RET_KILL_PROCESS)), 0);
  EXPECT_EQ(sandbox.judge({}).action, SECCOMP_RET_KILL_PROCESS);
  EXPECT_TRUE(older.is_part_of(sandbox));
  EXPECT_FALSE(sandbox.is_part_of(older));
  EXPECT_FALSE(sandbox.set_strict());
}

}  // namespace
}  // namespace rchk::syscalls
