// build: -O1
// status: SIGSEGV
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  *(volatile int*)0x10 = 1;
}
