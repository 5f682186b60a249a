// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include "tasks.h"

// SIGSTOP and SIGCONT without a handler: sleeps and waits of the stopped process go on to their
// time, but for epoll_wait and others that signal(7) names ("Interruption of system calls ... by
// stop signals").
static int kinds(int kind) {
  struct timespec half = {0, 400000000};
  struct epoll_event event;
  int64_t start = now_ns();
  if (kind == 0) CHECK(nanosleep(&half, NULL) == 0);
  if (kind == 1) CHECK(poll(NULL, 0, 400) == 0);
  if (kind == 2) CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &half, NULL) == 0);
  if (kind == 3) {
    int result = epoll_wait(epoll_create1(0), &event, 1, 400);
    CHECK(result == 0 || errno == EINTR);
    return 1;
  }
  CHECK(now_ns() - start >= 400000000);
  return 1;
}

int main(void) {
  int status;
  for (int kind = 0; kind < 4; kind++) {
    pid_t child = forked();
    if (child == 0) _exit(kinds(kind));
    for (int i = 0; i < (kind == 3 ? 1 : 3); i++) {
      sleep_ms(10);
      CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
      CHECK(WIFSTOPPED(status) && kill(child, SIGCONT) == 0);
    }
    CHECK(status_of(child) == 1);
  }
  return passed();
}
