// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include "tasks.h"

// Signals that are ignored, blocked or without effect by default wake nothing: not a call that
// would end in EINTR, and none before its time.
static void pester(pid_t whom) {
  for (int i = 0; i < 10; i++) {
    sleep_ms(3);
    kill(whom, SIGWINCH);
    kill(whom, SIGUSR1);
    kill(whom, SIGUSR2);
    kill(whom, SIGURG);
  }
  _exit(0);
}

int main(void) {
  int ends[2], epoll = epoll_create1(0);
  sigset_t blocked, wanted;
  struct epoll_event event = {.events = EPOLLIN};
  struct timespec moment = {0, 50000000};
  CHECK(pipe(ends) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
  struct pollfd polled = {ends[0], POLLIN, 0};
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0 && signal(SIGUSR2, SIG_IGN) != SIG_ERR);
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  for (int kind = 0; kind < 5; kind++) {
    pid_t self = getpid(), child = forked();
    if (child == 0) pester(self);
    int64_t start = now_ns();
    switch (kind) {
      case 0:
        CHECK(poll(&polled, 1, 50) == 0);
        break;
      case 1:
        CHECK(epoll_wait(epoll, &event, 1, 50) == 0);
        break;
      case 2:
        CHECK(nanosleep(&moment, NULL) == 0);
        break;
      case 3:
        CHECK(sigtimedwait(&wanted, NULL, &moment) == -1 && errno == EAGAIN);
        break;
      default:
        CHECK(clock_nanosleep(CLOCK_REALTIME, 0, &moment, NULL) == 0);
    }
    CHECK(now_ns() - start >= 50000000 && status_of(child) == 0);
  }
  return passed();
}
