// build: -O1 -D_GNU_SOURCE
// status: 6
#include "tasks.h"

// The child has a copy of the memory, and its own pid; each prints what it has.
static int value = 1;

int main(void) {
  pid_t parent = getpid();
  puts("before");
  pid_t child = forked();
  if (child == 0) {
    CHECK(getppid() == parent && getpid() != parent && value == 1);
    value = 2;
    puts("child");
    fflush(stdout);
    _exit(6);
  }
  int status = status_of(child);
  CHECK(value == 1);
  passed();
  return status;
}
