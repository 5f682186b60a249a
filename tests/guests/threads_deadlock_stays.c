// build: -O1 -pthread -D_GNU_SOURCE
// status: SIGALRM
#include "tasks.h"

// A deadlock of the program's own stays one, until the alarm ends the program.
static pthread_mutex_t mutexes[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t barrier;

static void* cross(void* argument) {
  int self = (int)(intptr_t)argument;
  pthread_mutex_lock(&mutexes[self]);
  pthread_barrier_wait(&barrier);
  pthread_mutex_lock(&mutexes[1 - self]);
  puts("no deadlock");
  return NULL;
}

int main(void) {
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
  passed();
  fflush(stdout);
  alarm(1);
  started(cross, (void*)1);
  cross(NULL);
  return 1;
}
