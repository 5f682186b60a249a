// build: -O1
// varies: the time
#include <sys/time.h>
#include <time.h>

#include "guest.h"

static int64_t now_ns(clockid_t clock) {
  struct timespec time;
  CHECK(clock_gettime(clock, &time) == 0);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int main(void) {
  int64_t last = now_ns(CLOCK_MONOTONIC);
  for (int i = 0; i < 100; ++i) {
    int64_t now = now_ns(CLOCK_MONOTONIC);
    CHECK(now >= last);
    last = now;
  }
  struct timeval day;
  CHECK(gettimeofday(&day, NULL) == 0);
  // time() goes by the last tick: a second's beginning may lie between, on either side.
  const time_t seconds = time(NULL);
  CHECK(seconds >= day.tv_sec - 1 && seconds <= day.tv_sec + 1);
  printf("%ld %ld %ld ", now_ns(CLOCK_REALTIME), last, now_ns(CLOCK_PROCESS_CPUTIME_ID));
  return passed();
}
