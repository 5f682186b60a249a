// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/timerfd.h>

#include "tasks.h"

// Processes that end while calls of their other threads come to their end by themselves: what the
// kernel stores just then is in memory at the end.
enum { kProcesses = 8, kReaders = 40, kStepNs = 50000 };

static uint64_t expired[kReaders];
static int64_t end_ns;

static struct timespec time_of(int64_t ns) {
  return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static void* read_timer(void* argument) {
  intptr_t number = (intptr_t)argument;
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec once = {{0, 0}, time_of(end_ns + number * kStepNs)};
  CHECK(timer >= 0 && timerfd_settime(timer, TFD_TIMER_ABSTIME, &once, NULL) == 0);
  CHECK(read(timer, &expired[number], sizeof(uint64_t)) == sizeof(uint64_t));
  return argument;
}

int main(void) {
  for (int i = 0; i < kProcesses; i++) {
    pid_t child = forked();
    if (child == 0) {
      end_ns = now_ns() + 100000000;
      for (intptr_t k = 0; k < kReaders; k++) started(read_timer, (void*)k);
      struct timespec end = time_of(end_ns);
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
      _exit(0);
    }
    CHECK(status_of(child) == 0);
  }
  return passed();
}
