// build: -O1
#include "guest.h"

// Every byte value, no line end for long, and a duplicate of the descriptor.
int main(void) {
  char bytes[1024];
  for (int i = 0; i < 1024; ++i) bytes[i] = (char)i;
  CHECK(write(1, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
  int copy = dup(1);
  CHECK(write(copy, bytes, 100) == 100);
  CHECK(dup2(1, 9) == 9 && write(9, "\n", 1) == 1);
  return passed();
}
