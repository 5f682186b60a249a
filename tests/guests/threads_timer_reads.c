// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/timerfd.h>

#include "tasks.h"

// Pages that only the kernel stores to, at moments that no task of the program decides: timers
// that expire while the others run, or while a snapshot of their memory is taken.
enum { kReaders = 6, kReads = 150, kPageBytes = 4096 };

static struct {
  _Alignas(4096) uint64_t expired;
  char rest[kPageBytes - sizeof(uint64_t)];
} pages[kReaders];
static atomic_int running = kReaders;

static void* read_timer(void* argument) {
  intptr_t number = (intptr_t)argument;
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec period = {{0, 200000 * (number + 1)}, {0, 200000 * (number + 1)}};
  CHECK(timer >= 0 && timerfd_settime(timer, 0, &period, NULL) == 0);
  uint64_t total = 0;
  for (int i = 0; i < kReads; i++) {
    CHECK(read(timer, &pages[number].expired, sizeof(uint64_t)) == sizeof(uint64_t));
    total += pages[number].expired;
  }
  CHECK(total >= kReads);
  running--;
  return NULL;
}

int main(void) {
  pthread_t readers[kReaders];
  for (intptr_t i = 0; i < kReaders; i++) readers[i] = started(read_timer, (void*)i);
  while (running > 0) {
    computed(2000);
    getppid();
  }
  for (int i = 0; i < kReaders; i++) joined(readers[i]);
  return passed();
}
