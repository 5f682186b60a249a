// build: -O1 -pthread -D_GNU_SOURCE
// status: SIGSEGV
#include "tasks.h"

// A fault in one thread ends all of them.
static void* compute(void* argument) {
  for (volatile uint64_t i = 0;; i++) {
  }
  return argument;
}

static void* fail(void* argument) {
  sleep_ms(5);
  *(volatile int*)8 = 1;
  return argument;
}

int main(void) {
  passed();
  fflush(stdout);
  started(compute, NULL);
  started(fail, NULL);
  pause();
  return 1;
}
