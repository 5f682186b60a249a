// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

static pid_t tids[8];

static void* square(void* argument) {
  intptr_t number = (intptr_t)argument;
  tids[number] = own_tid();
  return (void*)(number * number);
}

int main(void) {
  pthread_t threads[8];
  intptr_t sum = 0;
  for (intptr_t i = 0; i < 8; i++) threads[i] = started(square, (void*)i);
  for (int i = 7; i >= 0; i--) sum += joined(threads[i]);
  CHECK(sum == 140);
  for (int i = 0; i < 8; i++) {
    CHECK(tids[i] > 0 && tids[i] != getpid());
    for (int j = 0; j < i; j++) CHECK(tids[i] != tids[j]);
  }
  return passed();
}
