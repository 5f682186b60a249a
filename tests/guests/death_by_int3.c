// build: -O1
// status: SIGTRAP
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  __asm__ volatile("int3");
}
