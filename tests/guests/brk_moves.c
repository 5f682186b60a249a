// build: -O1 -static
#include "guest.h"

enum { kPage = 4096 };

int main(void) {
  char* start = sbrk(0);
  CHECK(sbrk(64 * kPage) == start);
  memset(start, 5, 64 * kPage);
  CHECK(sbrk(-32 * kPage) == start + 64 * kPage);
  CHECK(start[31 * kPage] == 5);
  // What was given back is fresh when it is had again.
  CHECK(sbrk(32 * kPage) == start + 32 * kPage);
  CHECK(start[32 * kPage] == 0 && start[31 * kPage] == 5);
  for (int round = 0; round < 50; ++round) {
    CHECK(sbrk(kPage) != (void*)-1);
    ((char*)sbrk(0))[-1] = (char)round;
  }
  CHECK(brk(start) == 0 && sbrk(0) == start);
  return passed();
}
