// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// A thread's stack serves the next one: the kernel says by the cleared tid that it is free.
static void* use(void* argument) {
  volatile unsigned char block[20000];
  for (size_t i = 0; i < sizeof block; i++) block[i] = (unsigned char)(i * (intptr_t)argument);
  sched_yield();
  for (size_t i = 0; i < sizeof block; i++)
    CHECK(block[i] == (unsigned char)(i * (intptr_t)argument));
  return (void*)&block[0];
}

int main(void) {
  intptr_t first = joined(started(use, (void*)1));
  int same = 0;
  for (intptr_t i = 2; i < 200; i++) same += joined(started(use, (void*)i)) == first;
  CHECK(same == 198);
  return passed();
}
