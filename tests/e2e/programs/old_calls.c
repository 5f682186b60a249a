// Reads the time by way of the old page of calls, and of the vDSO.
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

struct timeval day;
struct timespec now;
long done;

__attribute__((noinline)) void read_time(void) {
  ((int (*)(struct timeval*, void*))0xffffffffff600000)(&day, NULL);
  clock_gettime(CLOCK_MONOTONIC, &now);
  ((time_t(*)(time_t*))0xffffffffff600400)(NULL);
}

__attribute__((noinline)) void at_return(void) { ++done; }

int main(void) {
  read_time();
  at_return();
  printf("%d\n", day.tv_sec > 0);
  return 0;
}
