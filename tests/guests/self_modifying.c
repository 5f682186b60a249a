// build: -O1
#include "code.h"

// A function rewritten between calls, in memory that is writable and executable all the time.
int main(void) {
  unsigned char* page = code_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  for (int round = 0; round < 2000; ++round) {
    put_return(page + round % 64, round);
    CHECK(((Function)(page + round % 64))() == round);
  }
  return passed();
}
