// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// The kernel owns the word of a contended priority-inheriting futex (futex(2), FUTEX_LOCK_PI).
static pthread_mutex_t mutex;
static volatile long total;
static atomic_int held;

static void* add(void* argument) {
  for (int i = 0; i < 2000; i++) {
    CHECK(pthread_mutex_lock(&mutex) == 0);
    total = total + 1;
    if (i % 500 == 0) sched_yield();
    CHECK(pthread_mutex_unlock(&mutex) == 0);
  }
  return argument;
}

static void* hold(void* argument) {
  CHECK(pthread_mutex_lock(&mutex) == 0);
  held = 1;
  while (held == 1) sleep_ms(1);
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  return argument;
}

int main(void) {
  pthread_mutexattr_t attributes;
  pthread_t threads[4];
  CHECK(pthread_mutexattr_init(&attributes) == 0);
  CHECK(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT) == 0);
  CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
  for (int i = 0; i < 4; i++) threads[i] = started(add, NULL);
  for (int i = 0; i < 4; i++) joined(threads[i]);
  CHECK(total == 8000);
  pthread_t holder = started(hold, NULL);
  while (held == 0) sleep_ms(1);
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  CHECK(pthread_mutex_timedlock(&mutex, &deadline) == ETIMEDOUT);
  CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
  held = 2;
  CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
  joined(holder);
  return passed();
}
