// build: -O1 -pthread -D_GNU_SOURCE
// status: 5
#include "tasks.h"

// One computes, one sleeps, one waits for a mutex, one reads: exit ends them all.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];
static atomic_int running;

static void* compute(void* argument) {
  running++;
  for (volatile uint64_t i = 0;; i++) {
  }
  return argument;
}

static void* rest(void* argument) {
  running++;
  for (;;) pause();
  return argument;
}

static void* lock(void* argument) {
  running++;
  pthread_mutex_lock(&mutex);
  return argument;
}

static void* read_nothing(void* argument) {
  char byte;
  running++;
  CHECK(read(ends[0], &byte, 1) == 0);
  return argument;
}

int main(void) {
  CHECK(pipe(ends) == 0 && pthread_mutex_lock(&mutex) == 0);
  started(compute, NULL);
  started(rest, NULL);
  started(lock, NULL);
  started(read_nothing, NULL);
  while (running != 4) sleep_ms(1);
  sleep_ms(5);
  passed();
  exit(5);
}
