// build: -O1
#include <asm/prctl.h>
#include <sys/syscall.h>

#include "guest.h"

static __thread int counter = 3;

// fs by the C library, gs by hand.
int main(void) {
  uint64_t block[4] = {11, 22, 33, 44}, value, base;
  for (int i = 0; i < 100; ++i) counter += i;
  CHECK(counter == 3 + 4950);
  CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, block) == 0);
  __asm__ volatile("mov %%gs:16, %0" : "=r"(value));
  CHECK(value == 33);
  CHECK(syscall(SYS_arch_prctl, ARCH_GET_GS, &base) == 0 && base == (uint64_t)block);
  return passed();
}
