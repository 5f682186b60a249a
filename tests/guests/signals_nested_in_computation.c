// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>

#include "tasks.h"

// Timers that interrupt the handlers of each other, with computation on every level.
static volatile int outer, inner, depth, deepest;
static uint64_t expected;

static void handler(int number) {
  depth++;
  if (depth > deepest) deepest = depth;
  CHECK(computed(30000) == expected);
  if (number == SIGALRM)
    outer++;
  else
    inner++;
  depth--;
}

int main(void) {
  struct itimerval slow = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}};
  struct itimerspec fast = {{0, 1700000}, {0, 1700000}};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
  timer_t timer;
  expected = computed(30000);
  signal(SIGALRM, handler);
  signal(SIGUSR2, handler);
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  CHECK(timer_settime(timer, 0, &fast, NULL) == 0 && setitimer(ITIMER_REAL, &slow, NULL) == 0);
  while (outer < 20 || inner < 40) CHECK(computed(30000) == expected && depth == 0);
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0 && timer_delete(timer) == 0);
  CHECK(deepest == 2 || deepest == 1);
  return passed();
}
