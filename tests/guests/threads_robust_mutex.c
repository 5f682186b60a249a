// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// The owner dies, as a thread and as a process: the kernel marks the word (set_robust_list(2)).
static void make(pthread_mutex_t* mutex, int pshared) {
  pthread_mutexattr_t attributes;
  CHECK(pthread_mutexattr_init(&attributes) == 0);
  CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutexattr_setpshared(&attributes, pshared) == 0);
  CHECK(pthread_mutex_init(mutex, &attributes) == 0);
}

static void* die_owning(void* argument) {
  CHECK(pthread_mutex_lock(argument) == 0);
  return NULL;
}

static void* wait_for_dead(void* argument) {
  CHECK(pthread_mutex_lock(argument) == EOWNERDEAD);
  CHECK(pthread_mutex_consistent(argument) == 0 && pthread_mutex_unlock(argument) == 0);
  return NULL;
}

int main(void) {
  static pthread_mutex_t mutex, lost;
  make(&mutex, PTHREAD_PROCESS_PRIVATE);
  joined(started(die_owning, &mutex));
  joined(started(wait_for_dead, &mutex));
  CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
  make(&lost, PTHREAD_PROCESS_PRIVATE);
  joined(started(die_owning, &lost));
  CHECK(pthread_mutex_lock(&lost) == EOWNERDEAD && pthread_mutex_unlock(&lost) == 0);
  CHECK(pthread_mutex_lock(&lost) == ENOTRECOVERABLE);

  pthread_mutex_t* shared =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  make(shared, PTHREAD_PROCESS_SHARED);
  pid_t child = forked();
  if (child == 0) {
    CHECK(pthread_mutex_lock(shared) == 0);
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  wait_for_dead(shared);
  return passed();
}
