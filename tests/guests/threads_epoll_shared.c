// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "tasks.h"

// Several threads wait on one epoll; edge-triggered and one-shot, each event reaches exactly one.
static int epoll, event;
static atomic_int got, ended;

static void* wait_for(void* argument) {
  struct epoll_event found;
  for (;;) {
    int count = epoll_wait(epoll, &found, 1, -1);
    if (count == -1 && errno == EINTR) continue;
    CHECK(count == 1);
    if (found.data.u64 == 2) break;
    uint64_t value;
    CHECK(read(event, &value, 8) == 8 && value == 1);
    got++;
    struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 1};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, event, &again) == 0);
  }
  ended++;
  return argument;
}

int main(void) {
  pthread_t threads[4];
  epoll = epoll_create1(EPOLL_CLOEXEC);
  event = eventfd(0, EFD_SEMAPHORE);
  int end = eventfd(0, 0);
  struct epoll_event one = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 1};
  struct epoll_event two = {.events = EPOLLIN, .data.u64 = 2};
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &one) == 0);
  for (int i = 0; i < 4; i++) threads[i] = started(wait_for, NULL);
  for (uint64_t i = 0; i < 200; i++) {
    uint64_t by = 1 + i % 3;
    CHECK(write(event, &by, 8) == 8);
  }
  while (got < 399) sleep_ms(1);
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, end, &two) == 0);
  uint64_t value = 1;
  CHECK(write(end, &value, 8) == 8);
  for (int i = 0; i < 4; i++) joined(threads[i]);
  CHECK(got == 399 && ended == 4);
  return passed();
}
