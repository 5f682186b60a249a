// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

enum { kThreads = 4, kPhases = 100 };

static pthread_barrier_t barrier;
static int phase_of[kThreads];
static atomic_int serial;

static void* walk(void* argument) {
  intptr_t self = (intptr_t)argument;
  for (int phase = 1; phase <= kPhases; phase++) {
    phase_of[self] = phase;
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) serial++;
    for (int i = 0; i < kThreads; i++) CHECK(phase_of[i] == phase);
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) serial++;
  }
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  CHECK(pthread_barrier_init(&barrier, NULL, kThreads) == 0);
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = started(walk, (void*)i);
  for (int i = 0; i < kThreads; i++) joined(threads[i]);
  CHECK(serial == 2 * kPhases);
  return passed();
}
