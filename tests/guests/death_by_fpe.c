// build: -O1
// status: SIGFPE
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  volatile int zero = 0;
  return 100 / zero;
}
