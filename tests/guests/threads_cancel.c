// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// glibc cancels by a signal of its own, whose handler leaves the blocking call.
static int ends[2];
static atomic_int cleaned, running;

static void clean(void* argument) { cleaned += (int)(intptr_t)argument; }

static void* read_for_ever(void* argument) {
  char byte;
  pthread_cleanup_push(clean, argument);
  running++;
  (void)!read(ends[0], &byte, 1);
  pthread_cleanup_pop(0);
  return NULL;
}

static void* compute_for_ever(void* argument) {
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  pthread_cleanup_push(clean, argument);
  running++;
  for (volatile uint64_t i = 0;; i++) {
  }
  pthread_cleanup_pop(0);
  return NULL;
}

int main(void) {
  CHECK(pipe(ends) == 0);
  pthread_t reader = started(read_for_ever, (void*)1);
  pthread_t computer = started(compute_for_ever, (void*)10);
  while (running != 2) sleep_ms(1);
  sleep_ms(2);
  CHECK(pthread_cancel(reader) == 0 && joined(reader) == (intptr_t)PTHREAD_CANCELED);
  CHECK(pthread_cancel(computer) == 0 && joined(computer) == (intptr_t)PTHREAD_CANCELED);
  CHECK(cleaned == 11);
  return passed();
}
