// build: -O1 -pthread -D_GNU_SOURCE
// varies: a race, whose result a replay must repeat
#include "tasks.h"

static volatile long total;

static void* add(void* argument) {
  for (int i = 0; i < 60000000; i++) total = total + 1;
  return argument;
}

int main(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = started(add, NULL);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  CHECK(total >= 2 && total <= 180000000);
  printf("%ld\n", total);
  return passed();
}
