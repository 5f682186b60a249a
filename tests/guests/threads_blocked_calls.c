// build: -O1 -pthread -D_GNU_SOURCE
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "tasks.h"

// Threads that wait in different calls, each ended by what another one does.
static int pipes[2], sockets[2], event, epoll, timer;

static void* wait_read(void* argument) {
  char text[8] = {0};
  CHECK(read(pipes[0], text, 8) == 4 && strcmp(text, "pipe") == 0);
  CHECK(write(sockets[0], "socket", 6) == 6);
  return argument;
}

static void* wait_receive(void* argument) {
  char text[8] = {0};
  struct iovec part = {text, sizeof text};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  CHECK(recvmsg(sockets[1], &message, 0) == 6 && strcmp(text, "socket") == 0);
  uint64_t three = 3;
  CHECK(write(event, &three, 8) == 8);
  return argument;
}

static void* wait_poll(void* argument) {
  struct pollfd polled = {event, POLLIN, 0};
  uint64_t value;
  CHECK(poll(&polled, 1, -1) == 1 && polled.revents == POLLIN);
  CHECK(read(event, &value, 8) == 8 && value == 3);
  struct itimerspec soon = {{0, 0}, {0, 5000000}};
  CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
  return argument;
}

static void* wait_epoll(void* argument) {
  struct epoll_event found;
  uint64_t times;
  CHECK(epoll_wait(epoll, &found, 1, -1) == 1 && found.data.u64 == 42);
  CHECK(read(timer, &times, 8) == 8 && times == 1);
  return argument;
}

int main(void) {
  CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  event = eventfd(0, 0);
  epoll = epoll_create1(0);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 42};
  CHECK(event >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &wanted) == 0);
  pthread_t threads[4] = {started(wait_epoll, NULL), started(wait_poll, NULL),
                          started(wait_receive, NULL), started(wait_read, NULL)};
  sleep_ms(3);
  CHECK(write(pipes[1], "pipe", 4) == 4);
  for (int i = 0; i < 4; i++) joined(threads[i]);
  return passed();
}
