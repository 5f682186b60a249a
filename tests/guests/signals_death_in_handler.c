// build: -O1 -D_GNU_SOURCE
// status: SIGSEGV
#include <signal.h>

#include "tasks.h"

// A fault while its own handler runs ends the program, handler or not.
static void handler(int number) {
  (void)number;
  *(volatile int*)0x20 = 1;
}

int main(void) {
  passed();
  fflush(stdout);
  signal(SIGSEGV, handler);
  *(volatile int*)0x10 = 1;
  return 1;
}
