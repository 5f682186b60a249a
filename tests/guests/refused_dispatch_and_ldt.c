// build: -O1 -D_GNU_SOURCE
#include <asm/ldt.h>
#include <sys/prctl.h>

#include "refusals.h"

// Calls that become signals, and segments of the program's own.
int main(void) {
  int recorded_now = recorded();
  char selector = 0;
  struct user_desc segment = {.limit = 0xfffff, .seg_32bit = 1};
  REFUSED(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, -1, 1, &selector), EINVAL);
  REFUSED(syscall(SYS_modify_ldt, 1, &segment, sizeof segment), ENOSYS);
  return passed();
}
