// build: -O1 -D_GNU_SOURCE
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "refusals.h"

int main(void) {
  int recorded_now = recorded();
  pid_t child = forked();
  if (child == 0) {
    int result = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    if (result != 0) _exit(errno == EINVAL ? 3 : 4);
    syscall(SYS_getpid);
    _exit(5);
  }
  int status = status_of(child);
  CHECK(status == 128 + 9 || (recorded_now && status == 3));
  return passed();
}
