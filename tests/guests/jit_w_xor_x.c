// build: -O1
#include "code.h"

// A page that is written, made executable, called, and made writable again, as JITs do.
int main(void) {
  unsigned char* page = code_pages(2, PROT_READ | PROT_WRITE);
  for (int round = 0; round < 300; ++round) {
    CHECK(mprotect(page, 8192, PROT_READ | PROT_WRITE) == 0);
    put_return(page + 4093, round);  // across the boundary of two pages
    put_return(page + 100, -round);
    CHECK(mprotect(page, 8192, PROT_READ | PROT_EXEC) == 0);
    CHECK(((Function)(page + 4093))() == round);
    CHECK(((Function)(page + 100))() == -round);
  }
  return passed();
}
