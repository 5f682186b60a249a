// build: -O1
// status: SIGSEGV
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  return *(volatile int*)0x7fffdeadb000;
}
