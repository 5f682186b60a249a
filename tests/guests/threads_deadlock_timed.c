// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

static pthread_mutex_t mutexes[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t barrier;

static struct timespec in_ms(long milliseconds) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  at.tv_nsec += milliseconds % 1000 * 1000000;
  at.tv_sec += milliseconds / 1000 + at.tv_nsec / 1000000000;
  at.tv_nsec %= 1000000000;
  return at;
}

static void* cross(void* argument) {
  int self = (int)(intptr_t)argument;
  CHECK(pthread_mutex_lock(&mutexes[self]) == 0);
  pthread_barrier_wait(&barrier);
  // The first gives up soon, which lets the second go on.
  struct timespec deadline = in_ms(self == 0 ? 30 : 20000);
  int result = pthread_mutex_timedlock(&mutexes[1 - self], &deadline);
  CHECK(result == (self == 0 ? ETIMEDOUT : 0));
  if (result == 0) pthread_mutex_unlock(&mutexes[1 - self]);
  CHECK(pthread_mutex_unlock(&mutexes[self]) == 0);
  return NULL;
}

int main(void) {
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
  pthread_t second = started(cross, (void*)1);
  cross(NULL);
  joined(second);
  return passed();
}
