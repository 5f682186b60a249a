#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/tracee/tracee.h"

namespace rchk::tracee {
namespace {

// As on a kernel that keeps /proc/PID/mem from writing to read-only memory.
void refuse_pwrite() {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{std::size(code), code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) _exit(3);
}

// Ends with 0 if all of it holds.
void write_without_pwrite() {
  SpawnOptions options;
  options.arguments = {"/bin/true"};
  auto tracee = Tracee::spawn(options);
  if (!tracee) _exit(4);
  refuse_pwrite();
  const GuestAddress code{tracee->registers()->rip &
                          ~uint64_t{7}};  // the program may not write there
  std::vector<uint8_t> before(32), after(32);
  if (tracee->read_memory(code, before) != before.size()) _exit(5);
  for (size_t offset = 0; offset < 9; ++offset) {
    for (size_t size = 1; size < 20; ++size) {
      std::vector<uint8_t> expected = before;
      for (size_t i = 0; i < size; ++i) expected[offset + i] ^= static_cast<uint8_t>(0x5a + i);
      const std::span<const uint8_t> bytes(expected.data() + offset, size);
      if (!tracee->write_memory(code + offset, bytes)) _exit(6);
      tracee->read_memory(code, after);
      if (after != expected) _exit(7);
      if (!tracee->write_memory(code, before)) _exit(8);
    }
  }
  if (tracee->write_memory({8}, before)) _exit(9);  // not mapped
  _exit(0);
}

TEST(WriteMemory, GoesByPtraceWhereTheFileRefuses) {
  EXPECT_EXIT(write_without_pwrite(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace rchk::tracee
