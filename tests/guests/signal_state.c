// build: -O1
#include <signal.h>

#include "guest.h"

// Signals that are blocked, pending, ignored or taken by a call: none is handled.
int main(void) {
  sigset_t set, old, pending;
  struct sigaction action = {.sa_handler = SIG_IGN}, before;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
  CHECK(raise(SIGUSR1) == 0 && sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
  siginfo_t info;
  CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == getpid());
  struct timespec moment = {0, 1000000};
  CHECK(sigtimedwait(&set, &info, &moment) == -1 && errno == EAGAIN);
  CHECK(sigaction(SIGUSR2, &action, &before) == 0 && before.sa_handler == SIG_DFL);
  CHECK(raise(SIGUSR2) == 0);
  CHECK(sigaction(SIGUSR2, NULL, &before) == 0 && before.sa_handler == SIG_IGN);
  CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
  CHECK(raise(SIGCHLD) == 0 && raise(SIGWINCH) == 0);
  return passed();
}
