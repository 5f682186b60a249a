// build: -O2 -pthread -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// So much changes between system calls that page snapshots read it from a fork, while it changes
// again: private memory, shared memory (which a fork does not hold), and from the fourth round on
// memory that a fork does not get.
enum { kPageBytes = 4096, kPrivatePages = 6144, kSharedPages = 1024, kRounds = 6 };

static unsigned char *own, *shared, *kept_from_forks;

static void* write_all(void* argument) {
  const int round = (int)(intptr_t)argument;
  for (size_t i = 0; i < kPrivatePages; i++) {
    own[i * kPageBytes + i % kPageBytes] = (unsigned char)(round + 1 + i);
    own[i * kPageBytes + 8 * round] = (unsigned char)(i >> 8);
    if (round % 2 != 0 && i % 512 == 0) getppid();
  }
  for (size_t i = 0; i < kSharedPages; i++) {
    shared[i * kPageBytes] = (unsigned char)(round + 3 * i);
    kept_from_forks[i * kPageBytes + 5] = (unsigned char)(round + 7 * i);
    if (i % 256 == 0) getppid();
  }
  return NULL;
}

static unsigned char* mapped(size_t pages, int flags) {
  unsigned char* memory =
      mmap(NULL, pages * kPageBytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

int main(void) {
  own = mapped(kPrivatePages, MAP_PRIVATE);
  shared = mapped(kSharedPages, MAP_SHARED);
  kept_from_forks = mapped(kSharedPages, MAP_PRIVATE);
  for (intptr_t round = 0; round < kRounds; round++) {
    if (round == 3) CHECK(madvise(kept_from_forks, kSharedPages * kPageBytes, MADV_DONTFORK) == 0);
    if (round % 2 == 0) {
      write_all((void*)round);
    } else {
      joined(started(write_all, (void*)round));
    }
    sleep_ms(3);
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < kPrivatePages * (size_t)kPageBytes; i++) sum = 31 * sum + own[i];
  for (size_t i = 0; i < kSharedPages * (size_t)kPageBytes; i++) {
    sum = 31 * sum + shared[i] + kept_from_forks[i];
  }
  printf("%016lx\n", sum);
  return passed();
}
