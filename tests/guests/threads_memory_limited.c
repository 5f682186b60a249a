// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/mman.h>
#include <sys/resource.h>

#include "tasks.h"

// A process whose memory is limited can map all that it may, also while a thread of its waits in a
// call.
enum { kStep = 1 << 20, kLimit = 512 << 20 };

static int ends[2];
static atomic_int waiting;

static void* read_once(void* argument) {
  char text[8];
  waiting = 1;
  CHECK(read(ends[0], text, sizeof text) == 4);
  return argument;
}

static uint64_t mapped_bytes(void) {
  unsigned long pages;
  FILE* file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
  return pages * 4096ull;
}

int main(void) {
  struct rlimit limit = {kLimit, kLimit};
  CHECK(pipe(ends) == 0 && setrlimit(RLIMIT_AS, &limit) == 0);
  pthread_t thread = started(read_once, NULL);
  while (waiting == 0) sched_yield();
  sleep_ms(2);
  for (uint64_t left = kLimit - mapped_bytes(); left >= kStep; left -= kStep) {
    CHECK(mmap(NULL, kStep, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  }
  CHECK(mmap(NULL, kStep, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  CHECK(write(ends[1], "text", 4) == 4);
  joined(thread);
  return passed();
}
