// build: -O1
#include <time.h>

#include "guest.h"

int main(void) {
  struct timespec moment = {0, 30000000}, start, end;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
  CHECK(nanosleep(&moment, NULL) == 0);
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL) == 0);
  CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
  int64_t ns = (end.tv_sec - start.tv_sec) * INT64_C(1000000000) + end.tv_nsec - start.tv_nsec;
  CHECK(ns >= 60000000);
  return passed();
}
