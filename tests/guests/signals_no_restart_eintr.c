// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tasks.h"

// Without SA_RESTART each call returns EINTR; some do with it as well (signal(7)).
static volatile sig_atomic_t seen;

static void handler(int number) { seen += number == SIGALRM; }

static void arm(int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  // Again and again: the first one may come before the call does.
  struct itimerval soon = {{0, 10000}, {0, 10000}};
  seen = 0;
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

static void disarm(void) {
  const struct itimerval never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

#define INTERRUPTED(flags, call)                        \
  do {                                                  \
    arm(flags);                                         \
    CHECK((call) == -1 && errno == EINTR && seen >= 1); \
    disarm();                                           \
  } while (0)

int main(void) {
  int ends[2], sockets[2], epoll = epoll_create1(0);
  char byte;
  fd_set reads;
  struct epoll_event event = {.events = EPOLLIN};
  struct timespec hour = {3600, 0}, left;
  CHECK(pipe(ends) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  struct pollfd polled = {ends[0], POLLIN, 0};
  FD_ZERO(&reads);
  FD_SET(ends[0], &reads);
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
  INTERRUPTED(0, read(ends[0], &byte, 1));
  INTERRUPTED(0, recv(sockets[0], &byte, 1, 0));
  INTERRUPTED(SA_RESTART, pause());
  INTERRUPTED(SA_RESTART, poll(&polled, 1, -1));
  INTERRUPTED(SA_RESTART, poll(&polled, 1, 3600000));
  INTERRUPTED(SA_RESTART, select(ends[0] + 1, &reads, NULL, NULL, NULL));
  INTERRUPTED(SA_RESTART, epoll_wait(epoll, &event, 1, -1));
  INTERRUPTED(SA_RESTART, epoll_wait(epoll, &event, 1, 3600000));
  INTERRUPTED(SA_RESTART, nanosleep(&hour, &left));
  CHECK(left.tv_sec == 3599 && left.tv_nsec > 0);
  arm(0);
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, &left) == EINTR && left.tv_sec == 3599);
  disarm();
  sigset_t wanted;
  siginfo_t info;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  INTERRUPTED(SA_RESTART, sigtimedwait(&wanted, &info, &hour));
  return passed();
}
