#include "rights.h"

#include <cerrno>
#include <cstddef>
#include <thread>

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "snapshot/pagemap_scan.h"

namespace rchk::snapshot::test {
namespace {

void drop_admin_capability() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
  data[0].effective &= ~(1u << CAP_SYS_ADMIN);
  ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
}

// Filters belong to the thread that installs them.
void refuse_pagemap_scan() {
  const auto request = static_cast<uint32_t>(pagemap_scan::kRequest);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(code), code};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

}  // namespace

void run_with(Rights rights, const std::function<void()>& body) {
  std::thread thread([&] {
    if (rights == Rights::kNoScan) refuse_pagemap_scan();
    if (rights != Rights::kAll) drop_admin_capability();
    body();
  });
  thread.join();
}

}  // namespace rchk::snapshot::test
