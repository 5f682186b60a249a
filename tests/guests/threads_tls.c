// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

static __thread int own = 100;
static __thread char block[5000];
static pthread_key_t key;
static atomic_int destroyed;

static void destroy(void* value) { destroyed += (int)(intptr_t)value; }

static void* use(void* argument) {
  intptr_t number = (intptr_t)argument;
  CHECK(own == 100 && block[4999] == 0);
  own += (int)number;
  memset(block, (int)number, sizeof block);
  pthread_setspecific(key, argument);
  for (int i = 0; i < 20; i++) {
    sched_yield();
    CHECK(own == 100 + number && block[i * 200] == number);
  }
  errno = (int)number;
  sched_yield();
  CHECK(errno == number && pthread_getspecific(key) == argument);
  return &own;
}

int main(void) {
  pthread_t threads[6];
  CHECK(pthread_key_create(&key, destroy) == 0);
  for (intptr_t i = 0; i < 6; i++) threads[i] = started(use, (void*)(i + 1));
  for (int i = 0; i < 6; i++) CHECK(joined(threads[i]) != (intptr_t)&own);
  CHECK(destroyed == 21 && own == 100);
  return passed();
}
