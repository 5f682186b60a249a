// build: -O1 -pthread -D_GNU_SOURCE
// varies: how far a thread counts until a timer expires
#include <sys/timerfd.h>

#include "tasks.h"

// A thread looks at a buffer until another one's call, which a timer ends, has filled it.
enum { kReads = 40 };

static volatile uint64_t expired[kReads];

static void* read_timer(void* argument) {
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec period = {{0, 3000000}, {0, 3000000}};
  CHECK(timer >= 0 && timerfd_settime(timer, 0, &period, NULL) == 0);
  for (int i = 0; i < kReads; i++) {
    CHECK(read(timer, (void*)&expired[i], sizeof expired[i]) == sizeof expired[i]);
  }
  return argument;
}

int main(void) {
  pthread_t reader = started(read_timer, NULL);
  uint64_t looks = 0;
  for (int i = 0; i < kReads; i++) {
    while (expired[i] == 0) looks++;
    getppid();
  }
  joined(reader);
  CHECK(looks > 0);
  printf("%llu looks\n", (unsigned long long)looks);
  return passed();
}
