// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// SIGALRM in a computation without a system call; what it computes does not depend on when.
static volatile sig_atomic_t seen;

static void handler(int number) { seen += number == SIGALRM; }

int main(void) {
  signal(SIGALRM, handler);
  uint64_t expected = computed(1000000);
  alarm(1);
  int64_t rounds = 0;
  while (seen == 0 && rounds < 100000) {
    CHECK(computed(1000000) == expected);
    rounds++;
  }
  CHECK(seen == 1);
  return passed();
}
