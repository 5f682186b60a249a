// build: -O1 -D_GNU_SOURCE
#include "refusals.h"

int main(void) {
  int recorded_now = recorded();
  REFUSED(syscall(SYS_userfaultfd, 0), ENOSYS);
  return passed();
}
