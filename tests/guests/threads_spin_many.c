// build: -O1 -pthread -D_GNU_SOURCE
// varies: how often each loop turned
#include "tasks.h"

// Two compute in short loops until a third, which sleeps, says that it is enough.
static volatile int enough;
static volatile uint64_t turns[2];

static void* count(void* argument) {
  volatile uint64_t* own = argument;
  while (enough == 0) *own = *own + 1;
  return NULL;
}

int main(void) {
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) threads[i] = started(count, (void*)&turns[i]);
  sleep_ms(60);
  enough = 1;
  for (int i = 0; i < 2; i++) joined(threads[i]);
  CHECK(turns[0] > 0 && turns[1] > 0);
  printf("%llu %llu\n", (unsigned long long)turns[0], (unsigned long long)turns[1]);
  return passed();
}
