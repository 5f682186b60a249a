// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

#include "guest.h"

int main(void) {
  int ends[2], epoll = epoll_create1(0), event = eventfd(0, EFD_NONBLOCK);
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 77}, found[4];
  CHECK(pipe(ends) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &wanted) == 0);
  wanted.data.u64 = 88;
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted) == 0);
  CHECK(epoll_wait(epoll, found, 4, 0) == 0 && epoll_wait(epoll, found, 4, 20) == 0);
  uint64_t five = 5, back = 0;
  CHECK(write(event, &five, 8) == 8);
  CHECK(epoll_wait(epoll, found, 4, -1) == 1 && found[0].data.u64 == 88);
  CHECK(read(event, &back, 8) == 8 && back == 5);
  CHECK(write(ends[1], "x", 1) == 1);
  struct pollfd polled[2] = {{ends[0], POLLIN, 0}, {event, POLLIN, 0}};
  CHECK(poll(polled, 2, 1000) == 1 && polled[0].revents == POLLIN && polled[1].revents == 0);
  fd_set reads;
  FD_ZERO(&reads);
  FD_SET(ends[0], &reads);
  FD_SET(event, &reads);
  struct timeval limit = {1, 0};
  CHECK(select(event + ends[0] + 1, &reads, NULL, NULL, &limit) == 1);
  CHECK(FD_ISSET(ends[0], &reads) && !FD_ISSET(event, &reads));
  struct timespec moment = {0, 10000000};
  CHECK(ppoll(polled + 1, 1, &moment, NULL) == 0);
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec soon = {{0, 0}, {0, 20000000}};
  CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
  CHECK(read(timer, &back, 8) == 8 && back == 1);
  return passed();
}
