// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

int main(void) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  char* area = mmap(NULL, 16 * kPage, PROT_READ | PROT_WRITE, flags, -1, 0);
  for (int page = 0; page < 16; ++page) memset(area + page * kPage, page + 1, kPage);
  CHECK(mremap(area, 16 * kPage, 8 * kPage, 0) == area);
  char* moved = mremap(area, 8 * kPage, 300 * kPage, MREMAP_MAYMOVE);
  CHECK(moved != MAP_FAILED);
  CHECK(moved[0] == 1 && moved[7 * kPage] == 8 && moved[8 * kPage] == 0);
  char* place = mmap(NULL, 8 * kPage, PROT_READ | PROT_WRITE, flags, -1, 0);
  memset(place, 77, 8 * kPage);
  char* fixed = mremap(moved, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  CHECK(fixed == place && fixed[0] == 1 && fixed[3 * kPage] == 4 && fixed[4 * kPage] == 77);
  // The old range stays, and reads as zero.
  char* target = mremap(place, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | 4 /* DONTUNMAP */);
  if (target != MAP_FAILED) CHECK(place[0] == 0 && target[kPage] == 2);
  CHECK(mremap((void*)0x1000, kPage, kPage, 0) == MAP_FAILED && errno == EFAULT);
  return passed();
}
