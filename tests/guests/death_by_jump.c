// build: -O1
// status: SIGSEGV
#include "guest.h"

// A call into unmapped memory: pc itself is what cannot be read.
int main(void) {
  passed();
  fflush(stdout);
  void (*volatile nowhere)(void) = (void (*)(void))0x12340;
  nowhere();
  return 1;
}
