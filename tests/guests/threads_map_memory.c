// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// One thread's mappings come, change and go while the others compute and map as well.
static atomic_int stop;

static void* map(void* argument) {
  unsigned seed = (unsigned)(intptr_t)argument;
  for (int i = 0; i < 200; i++) {
    size_t size = (1 + rand_r(&seed) % 8) * 4096;
    char* at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    memset(at, (int)size / 4096, size);
    at = mremap(at, size, 2 * size, MREMAP_MAYMOVE);
    CHECK(at != MAP_FAILED && at[size - 1] == (char)(size / 4096) && at[2 * size - 1] == 0);
    CHECK(mprotect(at, size, PROT_READ) == 0 && munmap(at, 2 * size) == 0);
  }
  stop++;
  return NULL;
}

static void* compute(void* argument) {
  uint64_t first = computed(20000);
  while (stop < 2) CHECK(computed(20000) == first);
  return argument;
}

int main(void) {
  pthread_t threads[3] = {started(compute, NULL), started(map, (void*)1), started(map, (void*)2)};
  for (int i = 0; i < 3; i++) joined(threads[i]);
  return passed();
}
