// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static volatile sig_atomic_t seen;

static void handler(int number) { seen = number; }

int main(void) {
  sigset_t blocked, none, now;
  sigemptyset(&none);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  signal(SIGUSR1, handler);
  CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
  CHECK(raise(SIGUSR1) == 0 && seen == 0);
  CHECK(sigsuspend(&none) == -1 && errno == EINTR && seen == SIGUSR1);
  // Blocked again, by the mask that sigsuspend puts back.
  CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR1) == 1);
  for (int i = 0; i < 20; i++) {
    seen = 0;
    pid_t child = forked();
    if (child == 0) {
      if (i % 2 == 0) sleep_ms(2);
      kill(getppid(), SIGUSR1);
      _exit(0);
    }
    CHECK(seen == 0 && sigsuspend(&none) == -1 && errno == EINTR && seen == SIGUSR1);
    CHECK(status_of(child) == 0);
  }
  return passed();
}
