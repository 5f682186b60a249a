// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// What a fork copies and what it does not: private memory, MADV_DONTFORK, MADV_WIPEONFORK.
int main(void) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS, protection = PROT_READ | PROT_WRITE;
  int* copied = mmap(NULL, 1 << 20, protection, flags, -1, 0);
  int* wiped = mmap(NULL, 4096, protection, flags, -1, 0);
  void* gone = mmap(NULL, 4096, protection, flags, -1, 0);
  for (int i = 0; i < 1 << 18; i++) copied[i] = i;
  *wiped = 5;
  CHECK(madvise(wiped, 4096, MADV_WIPEONFORK) == 0 && madvise(gone, 4096, MADV_DONTFORK) == 0);
  int* heap = malloc(100000);
  heap[1000] = 9;
  pid_t child = forked();
  if (child == 0) {
    for (int i = 0; i < 1 << 18; i++) CHECK(copied[i] == i);
    CHECK(*wiped == 0 && msync(gone, 4096, MS_ASYNC) == -1 && errno == ENOMEM);
    memset(copied, 1, 1 << 20);
    CHECK(munmap(copied, 1 << 20) == 0 && heap[1000] == 9);
    heap[1000] = 10;
    free(heap);
    _exit(0);
  }
  copied[7] = -7;
  CHECK(status_of(child) == 0 && copied[8] == 8 && copied[7] == -7 && heap[1000] == 9);
  return passed();
}
