// build: -O1 -D_GNU_SOURCE
#include <sys/auxv.h>

#include "refusals.h"

// glibc registers one for each thread where it can (__rseq_size); recorded it cannot.
extern const unsigned __rseq_size __attribute__((weak));

int main(void) {
  static _Alignas(32) struct { uint32_t words[8]; } area;
  int recorded_now = recorded();
  REFUSED(syscall(SYS_rseq, &area, sizeof area, 0, 0x53053053), ENOSYS);
  if (recorded_now && &__rseq_size != NULL) CHECK(__rseq_size == 0);
  CHECK(sched_getcpu() >= 0);
  return passed();
}
