// build: -O0
// status: SIGSEGV
#include "guest.h"

static int forever(volatile int depth) {
  volatile char frame[2000];
  frame[0] = (char)depth;
  return forever(depth + 1) + frame[0];
}

int main(void) {
  passed();
  fflush(stdout);
  return forever(0);
}
