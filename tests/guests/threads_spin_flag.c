// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// The registers of a thread that spins on a flag are the same in every iteration.
static volatile int flag;
static volatile uint64_t result;

static void* set(void* argument) {
  result = computed(3000000);
  flag = 1;
  return argument;
}

int main(void) {
  pthread_t thread = started(set, NULL);
  while (flag == 0) {
  }
  CHECK(result == computed(3000000));
  joined(thread);
  return passed();
}
