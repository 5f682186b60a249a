// build: -O1 -D_GNU_SOURCE
// status: 2
#include "tasks.h"

// The first process ends before its child, which is still the program's: it has its output.
int main(void) {
  int ends[2];
  char byte;
  CHECK(pipe(ends) == 0);
  if (forked() == 0) {
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0);  // until the parent is gone
    computed(2000000);
    passed();
    fflush(stdout);
    _exit(5);
  }
  puts("the first is gone");
  fflush(stdout);
  _exit(2);
}
