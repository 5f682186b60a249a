// build: -O1 -D_GNU_SOURCE
// args: first
#include <signal.h>

#include "tasks.h"

// fork keeps mask and handlers and drops what is pending; execve keeps mask, what is pending and
// what is ignored, and drops handlers (signal(7)).
static volatile sig_atomic_t seen;

static void handler(int number) { seen = number; }

static int after_exec(void) {
  sigset_t now, pending;
  struct sigaction action;
  CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR1) == 1);
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
  CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
  CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
  return passed();
}

static void* in_thread(void* argument) {
  sigset_t now, pending;
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR1) == 1);
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 0);
  return argument;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "second") == 0) return after_exec();
  sigset_t usr1, pending;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  signal(SIGUSR1, handler);
  signal(SIGUSR2, SIG_IGN);
  CHECK(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
  CHECK(syscall(SYS_tgkill, getpid(), own_tid(), SIGUSR1) == 0);
  joined(started(in_thread, NULL));
  pid_t child = forked();
  if (child == 0) {
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 0);
    CHECK(raise(SIGUSR1) == 0 && seen == 0 && sigprocmask(SIG_UNBLOCK, &usr1, NULL) == 0);
    _exit(seen == SIGUSR1 ? 3 : 4);
  }
  CHECK(status_of(child) == 3 && seen == 0);
  char* const arguments[] = {argv[0], "second", NULL};
  execv("/proc/self/exe", arguments);
  return 1;
}
