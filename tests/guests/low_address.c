// build: -O2
#include <sys/mman.h>

#include "guest.h"

// The lowest page that may be mapped, and one at two gigabytes.
int main(void) {
  volatile char* low = mmap((void*)0x10000, 4096, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  volatile char* middle = mmap((void*)0x80000000, 4096, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(low == (void*)0x10000 && middle == (void*)0x80000000);
  low[7] = 1;
  middle[7] = 2;
  CHECK(low[7] + middle[7] == 3);
  return passed();
}
