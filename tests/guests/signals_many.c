// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Thousands of handlers, as programs with timers have them, each with a system call inside.
static volatile long seen;

static void handler(int number) { seen += number + (getpid() == 0); }

int main(void) {
  signal(SIGUSR1, handler);
  uint64_t sum = 0;
  for (int i = 0; i < 3000; i++) {
    CHECK(raise(SIGUSR1) == 0 && seen == (i + 1) * SIGUSR1);
    sum += computed(50);
  }
  CHECK(sum == 3000 * computed(50));
  return passed();
}
