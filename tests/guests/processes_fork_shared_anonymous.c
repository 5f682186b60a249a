// build: -O1 -pthread -D_GNU_SOURCE
#include <semaphore.h>
#include <sys/mman.h>

#include "tasks.h"

// Memory that forked processes share: semaphores, an atomic counter, and a flag that is spun on.
struct Shared {
  sem_t turn[2];
  atomic_long count;
  volatile int flag;
  int log[200], logged;
};

int main(void) {
  struct Shared* shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  CHECK(sem_init(&shared->turn[0], 1, 1) == 0 && sem_init(&shared->turn[1], 1, 0) == 0);
  pid_t child = forked();
  int self = child == 0;
  for (int i = 0; i < 100; i++) {
    while (sem_wait(&shared->turn[self]) != 0) CHECK(errno == EINTR);
    shared->log[shared->logged++] = self * 1000 + i;
    sem_post(&shared->turn[1 - self]);
    shared->count += 3;
  }
  if (self == 1) {
    computed(2000000);
    shared->flag = 1;
    _exit(0);
  }
  while (shared->flag == 0) {
  }
  CHECK(status_of(child) == 0 && shared->count == 600 && shared->logged == 200);
  for (int i = 0; i < 200; i++) CHECK(shared->log[i] == i % 2 * 1000 + i / 2);
  return passed();
}
