// build: -O1
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

static char* anonymous(size_t pages) {
  char* start =
      mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(start != MAP_FAILED);
  return start;
}

// Splits, holes, maps over maps, and the same addresses again with new contents.
int main(void) {
  char* area = anonymous(64);
  for (int page = 0; page < 64; ++page) area[page * kPage] = (char)page;
  CHECK(munmap(area + 10 * kPage, 5 * kPage) == 0);
  CHECK(area[9 * kPage] == 9 && area[15 * kPage] == 15);
  char* hole = mmap(area + 10 * kPage, 5 * kPage, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(hole == area + 10 * kPage && hole[0] == 0);
  CHECK(mmap(area, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
        MAP_FAILED);
  CHECK(mmap(area + 20 * kPage, 3 * kPage, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area + 20 * kPage);
  CHECK(area[20 * kPage] == 0 && area[23 * kPage] == 23);
  CHECK(munmap(area, 64 * kPage) == 0);
  for (int round = 0; round < 200; ++round) {
    char* again = anonymous(8);
    CHECK(again[kPage] == 0);
    memset(again, round, 8 * kPage);
    CHECK(munmap(again, 8 * kPage) == 0);
  }
  return passed();
}
