// build: -O2 -pthread -D_GNU_SOURCE
#include <stdatomic.h>

#include "tasks.h"

// Two threads that spin until it is their turn, as servers with input/output threads do: each turn
// needs the processor to be taken from one that only waits.
enum { kTurns = 200 };
static atomic_int turn;
static uint64_t sum;

static void* every_other(void* which) {
  const int own = (int)(intptr_t)which;
  for (int i = own; i < kTurns; i += 2) {
    while (atomic_load_explicit(&turn, memory_order_acquire) != i) {
    }
    sum = sum * 31 + computed(1000 + i);
    if (i % 7 == 0) sum += (uint64_t)getppid() * 0;
    atomic_store_explicit(&turn, i + 1, memory_order_release);
  }
  return NULL;
}

int main(void) {
  pthread_t thread = started(every_other, (void*)1);
  every_other(0);
  joined(thread);
  CHECK(turn == kTurns);
  printf("%016lx\n", sum);
  return passed();
}
