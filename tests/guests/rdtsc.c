// build: -O1
// varies: the time
#include <x86intrin.h>

#include "guest.h"

int main(void) {
  uint64_t last = __rdtsc(), mixed = 0;
  for (int i = 0; i < 1000; ++i) {
    uint64_t now = __rdtsc();
    CHECK(now >= last);
    mixed = mixed * 31 + now;
    last = now;
  }
  unsigned core;
  CHECK(__rdtscp(&core) >= last);
  printf("%016lx %u ", mixed, core);
  return passed();
}
