// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// Threads that hand a turn to each other in memory, without a system call.
static atomic_int turn;

static void* spin(void* argument) {
  int self = (int)(intptr_t)argument;
  for (int round = 0; round < 10; round++) {
    while (turn != self) {
    }
    turn = (self + 1) % 3;
  }
  return NULL;
}

int main(void) {
  pthread_t threads[2];
  for (intptr_t i = 0; i < 2; i++) threads[i] = started(spin, (void*)(i + 1));
  spin(NULL);
  for (int i = 0; i < 2; i++) joined(threads[i]);
  CHECK(turn == 0);
  return passed();
}
