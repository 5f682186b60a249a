// build: -O1
#include "code.h"

// Code goes, and other code comes to the same address.
int main(void) {
  unsigned char* place = code_pages(4, PROT_NONE);
  for (int round = 0; round < 200; ++round) {
    unsigned char* page = mmap(place + 4096, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(page == place + 4096);
    put_return(page, round * 3);
    CHECK(((Function)page)() == round * 3);
    CHECK(munmap(page, 4096) == 0);
  }
  return passed();
}
