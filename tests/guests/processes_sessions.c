// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static volatile sig_atomic_t seen;

static void handler(int number) { seen = number; }

int main(void) {
  int ends[2];
  char byte;
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid());
    CHECK(setsid() == -1 && errno == EPERM);
    signal(SIGUSR1, handler);
    // A group of two, and a signal to all of it.
    pid_t member = forked();
    if (member == 0) {
      CHECK(getpgrp() == getppid());
      CHECK(write(ends[1], "m", 1) == 1);
      while (seen == 0) sleep_ms(1);
      _exit(seen == SIGUSR1 ? 30 : 31);
    }
    CHECK(read(ends[0], &byte, 1) == 1);
    CHECK(kill(0, SIGUSR1) == 0 && seen == SIGUSR1 && status_of(member) == 30);
    CHECK(killpg(getpgrp(), SIGTERM) == 0);
    _exit(1);
  }
  CHECK(getsid(child) > 0 && status_of(child) == 128 + SIGTERM);
  return passed();
}
