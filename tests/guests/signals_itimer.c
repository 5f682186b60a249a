// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>

#include "tasks.h"

// All three interval timers, repeating, through a computation.
static volatile int counts[3];

static void handler(int number) {
  counts[number == SIGALRM ? ITIMER_REAL : number == SIGVTALRM ? ITIMER_VIRTUAL : ITIMER_PROF]++;
}

int main(void) {
  const int numbers[3] = {SIGALRM, SIGVTALRM, SIGPROF};
  uint64_t expected = computed(20000);
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
    struct itimerval every = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}}, left;
    signal(numbers[which], handler);
    CHECK(setitimer(which, &every, NULL) == 0);
    while (counts[which] < 8) CHECK(computed(20000) == expected);
    CHECK(getitimer(which, &left) == 0 && left.it_interval.tv_usec == 5000);
    CHECK(setitimer(which, &off, &left) == 0);
    int last = counts[which];
    CHECK(computed(20000) == expected && counts[which] - last <= 1);
  }
  return passed();
}
