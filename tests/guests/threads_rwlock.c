// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static volatile long left, right;

static void* read_pairs(void* argument) {
  for (int i = 0; i < 5000; i++) {
    pthread_rwlock_rdlock(&lock);
    CHECK(left == -right);
    pthread_rwlock_unlock(&lock);
  }
  return argument;
}

static void* write_pairs(void* argument) {
  for (int i = 0; i < 3000; i++) {
    pthread_rwlock_wrlock(&lock);
    left = left + 1;
    right = right - 1;
    pthread_rwlock_unlock(&lock);
  }
  return argument;
}

int main(void) {
  pthread_t threads[5];
  for (int i = 0; i < 5; i++) threads[i] = started(i < 3 ? read_pairs : write_pairs, NULL);
  for (int i = 0; i < 5; i++) joined(threads[i]);
  CHECK(left == 6000 && right == -6000 && pthread_rwlock_trywrlock(&lock) == 0);
  return passed();
}
