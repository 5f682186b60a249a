// build: -O1
#include <setjmp.h>

#include "guest.h"

static jmp_buf top;

static void dive(int depth) {
  if (depth == 0) longjmp(top, 5);
  dive(depth - 1);
  CHECK(0);
}

int main(void) {
  volatile int jumps = 0;
  for (int round = 0; round < 1000; ++round) {
    int value = setjmp(top);
    if (value == 0) {
      dive(round % 100);
    } else {
      CHECK(value == 5);
      ++jumps;
    }
  }
  CHECK(jumps == 1000);
  return passed();
}
