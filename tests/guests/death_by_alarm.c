// build: -O1
// status: SIGALRM
#include <sys/time.h>

#include "guest.h"

// An asynchronous death in the middle of a loop whose state changes all the time.
int main(void) {
  struct itimerval soon = {{0, 0}, {0, 100000}};
  passed();
  fflush(stdout);
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  for (volatile uint64_t count = 0;; ++count) {
  }
}
