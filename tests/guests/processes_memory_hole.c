// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// A process makes a hole in memory that it shares with another one, and lets go of pages of it,
// which takes nothing away.
int main(void) {
  const size_t size = 16 * 4096;
  unsigned char* shared =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  memset(shared, 2, size);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(madvise(shared + 4096, 2 * 4096, MADV_REMOVE) == 0);
    CHECK(madvise(shared + 8 * 4096, 4096, MADV_DONTNEED) == 0);
    shared[4096 + 5] = 3;
    _exit(0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(shared[4095] == 2 && shared[4096] == 0 && shared[3 * 4096] == 2 && shared[8 * 4096] == 2);
  unsigned sum = 0;
  for (size_t i = 0; i < size; i++) sum = sum * 31 + shared[i];
  printf("%u\n", sum);
  return passed();
}
