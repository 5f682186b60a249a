// build: -O1 -D_GNU_SOURCE
// args: first
#include <signal.h>
#include <sys/time.h>

#include "tasks.h"

// An interval timer lives on over execve and ends with fork; POSIX timers end with both
// (setitimer(2), timer_create(2)).
static volatile sig_atomic_t seen;

static void handler(int number) { seen = number; }

int main(int argc, char** argv) {
  struct itimerval left;
  CHECK(argc == 2);
  if (strcmp(argv[1], "second") == 0) {
    signal(SIGALRM, handler);
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    CHECK(sigprocmask(SIG_UNBLOCK, &alarm_only, NULL) == 0);
    while (seen == 0) computed(1000);
    CHECK(seen == SIGALRM);
    return passed();
  }
  struct itimerval soon = {{0, 0}, {0, 150000}};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM};
  struct itimerspec later = {{0, 0}, {0, 100000000}};
  sigset_t blocked;
  timer_t timer;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGALRM);
  CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  CHECK(timer_settime(timer, 0, &later, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(getitimer(ITIMER_REAL, &left) == 0 && left.it_value.tv_sec == 0);
    _exit(left.it_value.tv_usec == 0 ? 2 : 3);
  }
  CHECK(status_of(child) == 2);
  char* const arguments[] = {argv[0], "second", NULL};
  execv("/proc/self/exe", arguments);
  return 1;
}
