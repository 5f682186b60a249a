// build: -O1 -D_GNU_SOURCE
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "tasks.h"

// prctl's options, one after another.
int main(void) {
  int value = -1;
  CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0 && prctl(PR_GET_PDEATHSIG, &value) == 0);
  CHECK(value == SIGUSR1 && prctl(PR_SET_PDEATHSIG, 0) == 0);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && prctl(PR_GET_CHILD_SUBREAPER, &value) == 0);
  CHECK(value == 1 && prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
  CHECK(prctl(PR_SET_TIMERSLACK, 60000) == 0 && prctl(PR_GET_TIMERSLACK) == 60000);
  CHECK(prctl(PR_GET_SECUREBITS) >= 0 && prctl(PR_CAPBSET_READ, 0) >= 0);
  CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) >= 0 && prctl(PR_GET_TIMING) == 0);
  CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0 && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
  CHECK(prctl(PR_GET_SECCOMP) == 0 && prctl(PR_TASK_PERF_EVENTS_DISABLE) == 0);
  int* clear_tid = NULL;
  if (prctl(PR_GET_TID_ADDRESS, &clear_tid) == 0) CHECK(clear_tid != NULL);
  char* named = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  (void)!prctl(0x53564d41 /* PR_SET_VMA */, 0, named, 4096, "a name");
  named[1] = 1;
  CHECK(prctl(PR_GET_SPECULATION_CTRL, 0, 0, 0, 0) >= 0 || errno == ENODEV || errno == EINVAL);
  CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0) >= 0);
  unsigned long auxv[128] = {0};
  long bytes = prctl(0x41555856 /* PR_GET_AUXV */, auxv, sizeof auxv, 0, 0);
  if (bytes > 0) CHECK(auxv[0] != 0);
  CHECK(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
  CHECK(prctl(9999) == -1 && errno == EINVAL);
  CHECK(prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY) == 0 || errno == EINVAL);
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {0};
  CHECK(syscall(SYS_capget, &head, data) == 0);
  head.version = 0;
  CHECK(syscall(SYS_capget, &head, NULL) == 0 || errno == EINVAL);
  CHECK(head.version == _LINUX_CAPABILITY_VERSION_3);
  CHECK(syscall(SYS_capset, &head, data) == 0);
  return passed();
}
