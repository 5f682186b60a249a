// build: -O1 -D_GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guest.h"

enum { kPage = 4096, kStep = 16 << 20, kReach = 126 };

static volatile char* map_at(uintptr_t address, size_t size) {
  void* map = mmap((void*)address, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  return map == MAP_FAILED ? NULL : map;
}

// Maps each free place around an address.
static int crowd(uintptr_t around) {
  int mapped = 0;
  around &= ~(uintptr_t)(kStep - 1);
  for (int i = -kReach; i <= kReach; ++i) {
    volatile char* map = map_at(around + (intptr_t)i * kStep, kStep);
    if (map == NULL) continue;
    map[kPage + 3] = (char)i;
    CHECK(map[kPage + 3] == (char)i);
    ++mapped;
    // Everything is taken at some time, but never all at once.
    if (i % 16 != 0) CHECK(munmap((void*)map, kStep) == 0);
  }
  return mapped;
}

static int deep(int depth) {
  volatile char frame[4000];
  frame[7] = (char)depth;
  return depth == 0 ? 0 : deep(depth - 1) + (frame[7] == (char)depth);
}

// Mappings wherever a debugger might keep its own: low memory, near the program, its heap and the
// libraries; and a stack that grows further than it could when the program started.
int main(void) {
  for (uintptr_t low = 0x10000; low < 0x400000; low += 0x10000) {
    volatile char* map = map_at(low, 0x10000);
    if (map != NULL) map[1] = 1;
  }
  char* heap = sbrk(32 << 20);
  CHECK(heap != (void*)-1);
  heap[(32 << 20) - 1] = 1;
  CHECK(crowd((uintptr_t)&main) > 0);
  CHECK(crowd((uintptr_t)&memcpy) > 0);
  char* page = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(page, "moved");
  uintptr_t target = (uintptr_t)&main & ~(uintptr_t)(kPage - 1);
  for (int i = 1; i <= 64; ++i) {
    uintptr_t to = target - (uintptr_t)i * (kStep + kPage);
    page = mremap(page, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, (void*)to);
    CHECK(page == (void*)to && strcmp(page, "moved") == 0);
  }
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
  if (limit.rlim_max > 16 << 20) {
    limit.rlim_cur = 16 << 20;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
    CHECK(deep(3000) == 3000);
  }
  return passed();
}
