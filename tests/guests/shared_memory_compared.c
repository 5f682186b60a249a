// build: -O1 -pthread -D_GNU_SOURCE
#include <semaphore.h>
#include <sys/mman.h>

#include "tasks.h"

// Calls of which only /proc/PID/maps tells what they changed, beside shared memory without a file:
// it stays what it is, the same for parent and child.
enum { kPages = 4, kPage = 4096 };

int main(void) {
  volatile int* shared =
      mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sem_t* turn =
      mmap(NULL, 2 * sizeof *turn, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED && turn != MAP_FAILED);
  CHECK(sem_init(&turn[0], 1, 0) == 0 && sem_init(&turn[1], 1, 0) == 0);
  for (int i = 0; i < kPages * kPage / 4; i += 512) shared[i] = i;
  pid_t child = forked();
  if (child == 0) {
    CHECK(mmap((void*)0x800000004000, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == MAP_FAILED);
    CHECK(mprotect((void*)0x800000004000, kPage, PROT_READ) == -1);
    for (int round = 0; round < 20; round++) {
      while (sem_wait(&turn[0]) != 0) CHECK(errno == EINTR);
      for (int i = 0; i < kPages * kPage / 4; i += 512) shared[i] += round;
      sem_post(&turn[1]);
    }
    _exit(0);
  }
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < kPages * kPage / 4; i += 512) shared[i] *= 3;
    sem_post(&turn[0]);
    while (sem_wait(&turn[1]) != 0) CHECK(errno == EINTR);
    CHECK(mmap((void*)0x800000004000, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == MAP_FAILED);
  }
  CHECK(status_of(child) == 0);
  unsigned sum = 0;
  for (int i = 0; i < kPages * kPage / 4; i += 512) sum = sum * 31 + (unsigned)shared[i];
  printf("%u\n", sum);

  // A second mapping of the same memory.
  volatile int* twin = mremap((void*)shared, 0, kPages * kPage, MREMAP_MAYMOVE);
  CHECK(twin != MAP_FAILED && twin != shared);
  for (int i = 0; i < kPages * kPage / 4; i += 512) CHECK(twin[i] == shared[i]);
  for (int i = 0; i < kPages * kPage / 4; i += 512) twin[i] = ~i;
  for (int i = 0; i < kPages * kPage / 4; i += 512) CHECK(shared[i] == ~i);
  CHECK(munmap((void*)shared, kPages * kPage) == 0);
  child = forked();
  if (child == 0) {
    twin[5] = 77;
    _exit(0);
  }
  CHECK(status_of(child) == 0 && twin[5] == 77);
  return passed();
}
