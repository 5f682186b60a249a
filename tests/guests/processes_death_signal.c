// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tasks.h"

// Ends by core-dumping signals, seen by the parent; a death signal from the parent's end.
int main(void) {
  struct rlimit none = {0, 0};
  CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
  signal(SIGQUIT, SIG_DFL);  // a shell ignores it for what runs in its background
  for (int i = 0; i < 3; i++) {
    const int numbers[] = {SIGSEGV, SIGABRT, SIGQUIT};
    pid_t child = forked();
    if (child == 0) {
      if (i == 0) *(volatile int*)8 = 1;
      if (i == 1) abort();
      kill(getpid(), SIGQUIT);
      _exit(1);
    }
    CHECK(status_of(child) == 128 + numbers[i]);
  }
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  int ends[2];
  pid_t grandchild;
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    pid_t own = forked();
    if (own == 0) {
      CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
      own = getpid();
      CHECK(write(ends[1], &own, sizeof own) == sizeof own);
      for (;;) pause();
    }
    CHECK(read(ends[0], &grandchild, sizeof grandchild) == sizeof grandchild);
    CHECK(write(ends[1], &own, sizeof own) == sizeof own);
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  CHECK(read(ends[0], &grandchild, sizeof grandchild) == sizeof grandchild);
  CHECK(status_of(grandchild) == 128 + SIGUSR1);
  return passed();
}
