// build: -O1 -D_GNU_SOURCE -pthread
#include <sys/mman.h>

#include "tasks.h"

// Asks for memory at places that it would like, while other threads wait for what the kernel is to
// store for them: wherever a recorder has memory of its own, there is some to be had elsewhere.
enum { kBytes = 64 << 20, kPiece = 1 << 18 };

static int ends[2];

static void* waiting(void* argument) {
  (void)argument;
  char byte;
  CHECK(read(ends[0], &byte, 1) == 1);
  return NULL;
}

int main(void) {
  CHECK(pipe(ends) == 0);
  char* gap = mmap(NULL, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(gap != MAP_FAILED);
  pthread_t first = started(waiting, NULL);
  usleep(1000);
  CHECK(munmap(gap, kBytes) == 0);
  pthread_t second = started(waiting, NULL);
  usleep(50000);
  for (size_t at = 0; at < kBytes; at += kPiece) {
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char* wish = gap + at;
    char* found = mmap(wish, kPiece, protection, flags | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(found == wish || (found == MAP_FAILED && errno == EEXIST));
    if (found == wish) CHECK(munmap(found, kPiece) == 0);
    found = mmap(wish, kPiece, protection, flags, -1, 0);
    CHECK(found != MAP_FAILED);
    *found = 1;
  }
  CHECK(write(ends[1], "ab", 2) == 2);
  joined(first);
  joined(second);
  return passed();
}
