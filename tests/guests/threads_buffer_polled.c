// build: -O1 -pthread -D_GNU_SOURCE
// varies: how far a thread counts until a timer expires
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include "tasks.h"

// A thread looks at what another one's call is about to store, which a timer ends. It gives up in
// the end, so that a replay that never stores it ends as well.
enum { kReads = 3, kWays = 6 };
static const long kMostLooks = 400000000;

static volatile struct {
  uint64_t read[1], readv[2];
  struct pollfd polled;
  struct epoll_event event;
  fd_set set;
  siginfo_t info;
} stored;
static atomic_int way, epoll, watched;
static int quiet[2];

static void wait_for(int timer, int how) {
  struct iovec parts[] = {{(void*)stored.readv, 3}, {(char*)stored.readv + 3, 13}};
  sigset_t alarms;
  uint64_t expired = 1;
  switch (how) {
    case 0:
      CHECK(read(timer, (void*)stored.read, sizeof stored.read) == 8);
      return;
    case 1:
      CHECK(readv(timer, parts, 2) == 8);
      return;
    case 2:
      stored.polled = (struct pollfd){.fd = timer, .events = POLLIN};
      CHECK(poll((struct pollfd*)&stored.polled, 1, -1) == 1 && stored.polled.fd == timer);
      break;
    case 3:
      CHECK(epoll_wait(epoll, (struct epoll_event*)&stored.event, 1, -1) == 1);
      CHECK(stored.event.data.u64 == 77);
      break;
    case 4:
      FD_SET(quiet[0], (fd_set*)&stored.set);
      FD_SET(timer, (fd_set*)&stored.set);
      CHECK(select(FD_SETSIZE, (fd_set*)&stored.set, NULL, NULL, NULL) == 1);
      break;
    case 5:
      sigemptyset(&alarms);
      sigaddset(&alarms, SIGALRM);
      CHECK(sigwaitinfo(&alarms, (siginfo_t*)&stored.info) == SIGALRM);
      return;
  }
  CHECK(read(timer, &expired, sizeof expired) == sizeof expired);
}

// Not what the call begins with.
static int is_stored(int how) {
  switch (how) {
    case 0:
      return stored.read[0] != 0;
    case 1:
      return stored.readv[0] != 0;
    case 2:
      return stored.polled.revents != 0;
    case 3:
      return stored.event.events != 0;
    case 4:
      return FD_ISSET(watched, (fd_set*)&stored.set) && !FD_ISSET(quiet[0], (fd_set*)&stored.set);
    default:
      return stored.info.si_signo != 0;
  }
}

static void* wait_in_turn(void* argument) {
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec once = {{0, 0}, {0, 1000000}};
  struct itimerval alarm_once = {{0, 0}, {0, 1000}};
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 77};
  watched = timer;
  epoll = epoll_create1(0);
  CHECK(timer >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &wanted) == 0);
  for (int i = 0; i < kReads * kWays; i++) {
    while (way != i) sched_yield();
    CHECK(timerfd_settime(timer, 0, &once, NULL) == 0);
    if (i % kWays == 5) CHECK(setitimer(ITIMER_REAL, &alarm_once, NULL) == 0);
    wait_for(timer, i % kWays);
    if (i % kWays >= 5) {
      uint64_t expired;
      CHECK(read(timer, &expired, sizeof expired) == sizeof expired);
    }
    way = -1;
  }
  return argument;
}

int main(void) {
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  CHECK(sigprocmask(SIG_BLOCK, &alarms, NULL) == 0);
  CHECK(pipe(quiet) == 0);
  way = -1;
  pthread_t thread = started(wait_in_turn, NULL);
  long looks = 0;
  for (int i = 0; i < kReads * kWays; i++) {
    memset((void*)&stored, 0, sizeof stored);
    way = i;
    long turns = 0;
    while (!is_stored(i % kWays) && turns < kMostLooks) turns++;
    CHECK(turns < kMostLooks);
    looks += turns;
    while (way == i) sched_yield();
  }
  joined(thread);
  printf("%ld looks\n", looks);
  return passed();
}
