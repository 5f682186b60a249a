// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// Transparent and explicit huge pages.
int main(void) {
  size_t two = 2 << 20;
  char* area = mmap(NULL, 8 * two, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  area = (char*)(((uintptr_t)area + two - 1) / two * two);
  (void)!madvise(area, 4 * two, MADV_HUGEPAGE);
  for (size_t i = 0; i < 4 * two; i += 4096) area[i] = (char)(i >> 12);
  CHECK(madvise(area + 4096, 8192, MADV_DONTNEED) == 0 && area[4096] == 0 && area[3 * 4096] == 3);
  (void)!madvise(area, two, 25 /* MADV_COLLAPSE */);
  CHECK(area[5 * 4096] == 5);
  pid_t child = forked();
  if (child == 0) {
    area[0] = 99;
    _exit(area[two] == 0 ? area[9 * 4096] : 100);
  }
  CHECK(status_of(child) == 9 && area[0] == 0);
  char* huge =
      mmap(NULL, two, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (huge == MAP_FAILED) return passed();
  memset(huge, 7, two);
  CHECK(huge[two - 1] == 7 && munmap(huge, two) == 0);
  return passed();
}
