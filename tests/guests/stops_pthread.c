// build: -O1 -pthread
// status: 14
// stops: a second thread
#include <pthread.h>

#include "guest.h"

static void* worker(void* argument) {
  *(int*)argument = 14;
  return NULL;
}

int main(void) {
  pthread_t thread;
  int value = 0;
  puts("before");
  fflush(stdout);
  CHECK(pthread_create(&thread, NULL, worker, &value) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  passed();
  return value;
}
