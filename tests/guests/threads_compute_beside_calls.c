// build: -O1 -pthread -D_GNU_SOURCE
#include <pthread.h>

#include "tasks.h"

// A thread that computes on, beside two that make calls all the time until it has come to its end:
// it has its turns too.
static volatile int done;

static void* call(void* calls) {
  while (!done) {
    getppid();
    ++*(uint64_t*)calls;
  }
  return NULL;
}

int main(void) {
  pthread_t threads[2];
  uint64_t calls[2] = {0, 0};
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, call, &calls[i]) == 0);
  const uint64_t result = computed(300000000);
  done = 1;
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  printf("%d\n", (int)(result & 0xff));
  return passed();
}
