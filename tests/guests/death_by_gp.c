// build: -O1
// status: SIGSEGV
#include "guest.h"

// A non-canonical address: a general protection fault, without an address in siginfo.
int main(void) {
  passed();
  fflush(stdout);
  volatile char* nowhere = (volatile char*)0x8000000000000000;
  return *nowhere;
}
