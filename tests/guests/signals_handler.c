// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static volatile sig_atomic_t seen;

static void handler(int number) { seen = seen * 100 + number; }

int main(void) {
  signal(SIGUSR1, handler);
  signal(SIGUSR2, handler);
  CHECK(raise(SIGUSR1) == 0 && seen == SIGUSR1);
  CHECK(kill(getpid(), SIGUSR2) == 0 && seen == 100 * SIGUSR1 + SIGUSR2);
  seen = 0;
  CHECK(syscall(SYS_tgkill, getpid(), own_tid(), SIGUSR1) == 0 && seen == SIGUSR1);
  // Of several that become pending at once the kernel takes the lowest number first, so that the
  // handlers nest: the one with the highest number runs to its end first.
  sigset_t both, before;
  sigemptyset(&both);
  sigaddset(&both, SIGUSR1);
  sigaddset(&both, SIGUSR2);
  CHECK(sigprocmask(SIG_BLOCK, &both, &before) == 0);
  seen = 0;
  CHECK(raise(SIGUSR2) == 0 && raise(SIGUSR1) == 0 && raise(SIGUSR1) == 0 && seen == 0);
  CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
  CHECK(seen == 100 * SIGUSR2 + SIGUSR1);
  return passed();
}
