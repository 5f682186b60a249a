// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile long total;

static void* add(void* argument) {
  for (int i = 0; i < 20000; i++) {
    pthread_mutex_lock(&mutex);
    total = total + (intptr_t)argument;
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; i++) threads[i] = started(add, (void*)(i + 1));
  for (int i = 0; i < 4; i++) joined(threads[i]);
  CHECK(total == 20000 * 10);
  return passed();
}
