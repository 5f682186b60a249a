// build: -O1
// status: 8
// stops: a handled signal
#include <signal.h>

#include "guest.h"

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
