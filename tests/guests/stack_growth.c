// build: -O0
#include "guest.h"

// Six megabytes down, in pages, then in one big step that skips the pages between.
static int descend(int depth) {
  volatile char frame[4000];
  frame[0] = (char)depth;
  frame[3999] = 1;
  return depth == 0 ? frame[3999] : descend(depth - 1) + frame[3999];
}

static int leap(void) {
  volatile char frame[7 << 20];
  frame[0] = 2;
  return frame[0];
}

int main(void) {
  CHECK(descend(1500) == 1501);
  CHECK(leap() == 2);
  return passed();
}
