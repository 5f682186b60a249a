// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>

#include "tasks.h"

// PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, processes whose parent is gone.
int main(void) {
  int ends[2];
  CHECK(pipe(ends) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  pid_t self = getpid(), child = forked();
  if (child == 0) {
    pid_t grandchild = forked();
    if (grandchild == 0) {
      sigset_t set;
      int number = 0;
      sigemptyset(&set), sigaddset(&set, SIGUSR2);
      CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
      CHECK(write(ends[1], "r", 1) == 1);
      CHECK(sigwait(&set, &number) == 0 && number == SIGUSR2);
      while (getppid() != self) sched_yield();
      pid_t own = getpid();
      CHECK(write(ends[1], &own, sizeof own) == sizeof own);
      _exit(3);
    }
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    _exit(2);
  }
  pid_t orphan = 0;
  CHECK(status_of(child) == 2 && read(ends[0], &orphan, sizeof orphan) == sizeof orphan);
  CHECK(status_of(orphan) == 3);
  CHECK(wait(NULL) == -1 && errno == ECHILD);
  return passed();
}
