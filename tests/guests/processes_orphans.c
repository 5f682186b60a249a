// build: -O1 -D_GNU_SOURCE
#include <sys/prctl.h>

#include "tasks.h"

// A grandchild outlives its parent, and is taken in by the subreaper (prctl(2)).
int main(void) {
  int ends[2];
  pid_t seen[2];
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    pid_t own = getpid();
    if (forked() == 0) {
      while (getppid() == own) sleep_ms(1);
      pid_t pids[2] = {getpid(), getppid()};
      CHECK(write(ends[1], pids, sizeof pids) == sizeof pids);
      _exit(8);
    }
    _exit(7);
  }
  CHECK(status_of(child) == 7);
  CHECK(read(ends[0], seen, sizeof seen) == sizeof seen && seen[1] == getpid());
  CHECK(status_of(seen[0]) == 8);
  return passed();
}
