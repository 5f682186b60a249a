// build: -O1 -D_GNU_SOURCE
// status: 8
#include <signal.h>

#include "tasks.h"

static void handler(int number) {
  (void)number;
  passed();
  fflush(stdout);
  _exit(8);
}

int main(void) {
  signal(SIGSEGV, handler);
  *(volatile int*)0x10 = 1;
  return 1;
}
