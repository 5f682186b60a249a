// build: -O1 -D_GNU_SOURCE
// status: 12
#include "tasks.h"

// A child of a child of a child; each adds one to what its own child returned.
int main(void) {
  for (int depth = 0; depth < 12; depth++) {
    pid_t child = forked();
    if (child != 0) {
      int below = status_of(child);
      CHECK(below == 11 - depth);
      if (depth == 0) passed();
      fflush(stdout);
      _exit(below + 1);
    }
  }
  _exit(0);
}
