// build: -O1 -D_GNU_SOURCE
#include "code.h"

// Code at one place that is written so often that a replay leaves it writable, and code at another
// that is moved there and back.
int main(void) {
  unsigned char* often = code_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  unsigned char* seldom = code_pages(1, PROT_NONE);
  for (int round = 0; round < 60; ++round) {
    put_return(often, round);
    CHECK(((Function)often)() == round);
  }
  for (int round = 0; round < 40; ++round) {
    CHECK(mremap(often, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, seldom) == seldom);
    if (round % 3 == 0) put_return(seldom, round);
    CHECK(((Function)seldom)() == (round == 0 ? 0 : round % 3 == 0 ? round : round + 1000 - 1));
    CHECK(mremap(seldom, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, often) == often);
    put_return(often, round + 1000);
    CHECK(((Function)often)() == round + 1000);
  }
  return passed();
}
