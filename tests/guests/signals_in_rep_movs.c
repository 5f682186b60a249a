// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tasks.h"

// Signals in the middle of one long string instruction, which goes on where it was.
enum { kSize = 64 << 20 };

static volatile int ticks;

static void handler(int number) { ticks += number == SIGALRM; }

int main(void) {
  struct itimerval every = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  char* memory = mmap(NULL, kSize, PROT_READ | PROT_WRITE, flags, -1, 0);
  CHECK(memory != MAP_FAILED);
  signal(SIGALRM, handler);
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  for (int round = 1; ticks < 5; round++) {
    void *to = memory, *from = memory;
    size_t count = kSize;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(round) : "memory");
    CHECK(count == 0 && to == memory + kSize && memory[0] == round && memory[kSize - 1] == round);
    memory[0] = 77;  // carried through by the copy, byte by byte
    to = memory + 1;
    count = 200000;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    CHECK(count == 0 && memory[200000] == 77 && memory[200001] == (char)round);
  }
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  return passed();
}
