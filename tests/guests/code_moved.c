// build: -O1 -D_GNU_SOURCE
#include "code.h"

// mremap takes code along, and what was at the old place is gone.
int main(void) {
  unsigned char* here = code_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  unsigned char* there = code_pages(1, PROT_NONE);
  for (int round = 0; round < 100; ++round) {
    put_return(here, round);
    CHECK(((Function)here)() == round);
    CHECK(mremap(here, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, there) == there);
    CHECK(((Function)there)() == round);
    unsigned char* swap = here;
    CHECK(mmap(here, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == here);
    here = there;
    there = swap;
  }
  return passed();
}
