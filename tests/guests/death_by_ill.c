// build: -O1
// status: SIGILL
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  __builtin_trap();
}
