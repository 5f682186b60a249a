// build: -O1 -D_GNU_SOURCE
#include <semaphore.h>
#include <sys/mman.h>
#include "tasks.h"

// Mutexes, conditions, barriers, rwlocks and semaphores that processes share; an owner that dies.
struct Shared {
  pthread_mutex_t mutex, robust;
  pthread_cond_t condition;
  pthread_barrier_t barrier;
  pthread_rwlock_t lock;
  sem_t semaphore;
  int turn, count, locked;
};
int main(void) {
  struct Shared* shared =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t mutex;
  pthread_condattr_t condition;
  pthread_barrierattr_t barrier;
  pthread_rwlockattr_t lock;
  pthread_mutexattr_init(&mutex), pthread_condattr_init(&condition);
  pthread_barrierattr_init(&barrier), pthread_rwlockattr_init(&lock);
  CHECK(pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_mutex_init(&shared->mutex, &mutex) == 0);
  CHECK(pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutex_init(&shared->robust, &mutex) == 0);
  CHECK(pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_cond_init(&shared->condition, &condition) == 0);
  CHECK(pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_barrier_init(&shared->barrier, &barrier, 3) == 0);
  CHECK(pthread_rwlockattr_setpshared(&lock, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_rwlock_init(&shared->lock, &lock) == 0 && sem_init(&shared->semaphore, 1, 0) == 0);
  pid_t children[2];
  for (int i = 0; i < 2; i++) {
    children[i] = forked();
    if (children[i] != 0) continue;
    pthread_barrier_wait(&shared->barrier);
    for (int round = 0; round < 50; round++) {
      pthread_mutex_lock(&shared->mutex);
      while (shared->turn != i) pthread_cond_wait(&shared->condition, &shared->mutex);
      shared->turn = !i, shared->count++;
      pthread_cond_broadcast(&shared->condition);
      pthread_mutex_unlock(&shared->mutex);
      pthread_rwlock_rdlock(&shared->lock);
      CHECK(shared->count > 0);
      pthread_rwlock_unlock(&shared->lock);
    }
    sem_post(&shared->semaphore);
    if (i == 1) {
      pthread_mutex_lock(&shared->robust);
      shared->locked = 1;
    }
    _exit(i + 1);
  }
  pthread_barrier_wait(&shared->barrier);
  sem_wait(&shared->semaphore), sem_wait(&shared->semaphore);
  while (!shared->locked) sched_yield();
  CHECK(pthread_mutex_lock(&shared->robust) == EOWNERDEAD);
  CHECK(pthread_mutex_consistent(&shared->robust) == 0 &&
        pthread_mutex_unlock(&shared->robust) == 0);
  CHECK(shared->count == 100 && status_of(children[0]) == 1 && status_of(children[1]) == 2);
  return passed();
}
