// build: -O2
// status: SIGALRM
#include <sys/time.h>

#include "guest.h"

static unsigned table[1 << 16];

// Dies writing all over its memory.
int main(void) {
  struct itimerval soon = {{0, 0}, {0, 200000}};
  passed();
  fflush(stdout);
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  for (unsigned i = 1;; i = i * 1664525 + 1013904223) table[i >> 16] += i;
}
