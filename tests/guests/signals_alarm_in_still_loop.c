// build: -O1 -D_GNU_SOURCE
// varies: how far the loops got
#include <signal.h>
#include <sys/time.h>

#include "tasks.h"

// Loops whose registers do not change, or that come through the same state again and again.
static volatile sig_atomic_t seen;
static volatile uint64_t turns;

static void handler(int number) { seen = number; }

static void arm(void) {
  struct itimerval soon = {{0, 0}, {0, 30000}};
  seen = 0;
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

int main(void) {
  signal(SIGALRM, handler);
  arm();
  while (seen == 0) {
  }
  arm();
  while (seen == 0) turns = turns + 1;
  arm();
  for (volatile int i = 0; seen == 0; i = (i + 1) % 16) {
  }
  printf("%llu\n", (unsigned long long)turns);
  return passed();
}
