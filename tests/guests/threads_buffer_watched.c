// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// One thread watches a buffer that the kernel fills for another one's call, before that call is
// known to have ended. It gives up in the end, so that a replay that never fills it ends as well.
static volatile char buffer[16];
static int ends[2];
static atomic_int reading;

static void* read_into(void* argument) {
  reading = 1;
  CHECK(read(ends[0], (void*)buffer, sizeof buffer) == 5);
  return argument;
}

int main(void) {
  CHECK(pipe(ends) == 0);
  for (int round = 0; round < 40; round++) {
    memset((void*)buffer, 0, sizeof buffer);
    reading = 0;
    pthread_t thread = started(read_into, NULL);
    while (reading == 0) sched_yield();
    sleep_ms(2);
    CHECK(buffer[0] == 0 && write(ends[1], "hello", 5) == 5);
    for (long turns = 0; buffer[4] == 0 && turns < 1000000000; turns++) {
    }
    CHECK(memcmp((void*)buffer, "hello", 5) == 0);
    joined(thread);
  }
  return passed();
}
