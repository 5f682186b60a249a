// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "tasks.h"

// Asks an epoll for events so often that the recorder has it done without stops where there are
// any; and does to it what can be done meanwhile: with threads and without.
enum { kPairs = 8, kMost = 21000, kTooMany = 30000 };

static int epoll, ends[kPairs][2];
static struct epoll_event found[kTooMany];
static volatile sig_atomic_t ticks;
static uint64_t state = 7;

static void on_signal(int number) {
  (void)number;
  ticks++;
}

static uint64_t random_number(void) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 20;
}

static void change(int how, int target, uint32_t events, uint64_t data) {
  struct epoll_event wanted = {.events = events, .data.u64 = data};
  CHECK(epoll_ctl(epoll, how, target, &wanted) == 0);
}

static uint64_t data_of(int i) { return 0x1122334400000000ull * (uint64_t)(i + 1) + (uint64_t)i; }

// Some become ready, all of them are found, and nothing else is stored.
static void step(void) {
  unsigned ready = 0, seen = 0;
  const int count = 1 + (int)(random_number() % kPairs);
  for (int i = 0; i < count; i++) {
    const int which = (int)(random_number() % kPairs);
    if ((ready & 1u << which) != 0) continue;
    CHECK(write(ends[which][1], "x", 1) == 1);
    ready |= 1u << which;
  }
  while (seen != ready) {
    const int most = random_number() % 8 == 0 ? kMost : 1 + (int)(random_number() % kPairs);
    const int limits[] = {-1, 0, 1, 1000};
    memset(found, 0x5a, sizeof found[0] * (kPairs + 1));
    const int got = epoll_wait(epoll, found, most, limits[random_number() % 4]);
    if (got == -1 && errno == EINTR) continue;
    CHECK(got > 0 && got <= most);
    for (int i = 0; i < got; i++) {
      const int which = (int)(uint32_t)found[i].data.u64;
      CHECK(found[i].events == EPOLLIN && found[i].data.u64 == data_of(which));
      char byte;
      CHECK(read(ends[which][0], &byte, 1) == 1 && (seen & 1u << which) == 0);
      seen |= 1u << which;
    }
    for (size_t i = (size_t)got * sizeof found[0]; i < sizeof found[0] * (kPairs + 1); i++) {
      CHECK(((uint8_t*)found)[i] == 0x5a);
    }
  }
}

static void steps(int count) {
  for (int i = 0; i < count; i++) step();
}

static void nothing_there(int times) {
  for (int i = 0; i < 100; i++) CHECK(epoll_wait(epoll, found, 5, 0) == 0);
  for (int i = 0; i < times; i++) CHECK(epoll_wait(epoll, found, 5, 1) == 0);
  const int64_t begin = now_ns();
  CHECK(epoll_wait(epoll, found, 5, 20) == 0 && now_ns() - begin >= 19000000);
}

static void refused_calls(void) {
  struct epoll_event* volatile nowhere = (void*)8;
  volatile int fewer = -1;
  CHECK(epoll_wait(epoll, found, 0, 0) == -1 && errno == EINVAL);
  CHECK(epoll_wait(epoll, found, fewer, -1) == -1 && errno == EINVAL);
  CHECK(epoll_wait(777, found, 1, 0) == -1 && errno == EBADF);
  CHECK(epoll_wait(ends[0][0], found, 1, 0) == -1 && errno == EINVAL);
  CHECK(write(ends[0][1], "x", 1) == 1);
  CHECK(epoll_wait(epoll, nowhere, 1, 0) == -1 && errno == EFAULT);
  CHECK(epoll_wait(epoll, nowhere, 1, -1) == -1 && errno == EFAULT);
  CHECK(epoll_wait(epoll, found, kTooMany, -1) == 1 && found[0].data.u64 == data_of(0));
  char byte;
  CHECK(read(ends[0][0], &byte, 1) == 1 && epoll_wait(epoll, found, 1, 0) == 0);
}

// What there is room for is stored, the rest is found again.
static void at_end_of_memory(void) {
  uint8_t* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED && munmap(pages + 4096, 4096) == 0);
  struct epoll_event* const last = (void*)(pages + 4096 - 2 * sizeof *last);
  for (int i = 0; i < 5; i++) CHECK(write(ends[i][1], "x", 1) == 1);
  int left = 5;
  while (left > 0) {
    const int got = epoll_wait(epoll, last, 5, -1);
    CHECK(got == 2 || (left == 1 && got == 1));
    for (int i = 0; i < got; i++, left--) {
      char byte;
      CHECK(read(ends[(uint32_t)last[i].data.u64][0], &byte, 1) == 1);
    }
  }
  CHECK(munmap(pages, 4096) == 0);
}

// Edges are told of once, and who asks to be told once is.
static void edges(void) {
  char bytes[4];
  change(EPOLL_CTL_MOD, ends[0][0], EPOLLIN | EPOLLET, 100);
  change(EPOLL_CTL_MOD, ends[1][0], EPOLLIN | EPOLLONESHOT, 101);
  for (int i = 0; i < 100; i++) {
    CHECK(write(ends[0][1], "x", 1) == 1);
    CHECK(epoll_wait(epoll, found, 4, i % 2 == 0 ? -1 : 0) == 1 && found[0].data.u64 == 100);
    CHECK(epoll_wait(epoll, found, 4, i % 4 == 0) == 0);
    CHECK(write(ends[0][1], "x", 1) == 1);
    CHECK(epoll_wait(epoll, found, 4, 1000) == 1 && found[0].data.u64 == 100);
    CHECK(read(ends[0][0], bytes, 4) == 2 && epoll_wait(epoll, found, 4, 0) == 0);
    CHECK(write(ends[1][1], "x", 1) == 1);
    CHECK(epoll_wait(epoll, found, 4, i % 3 - 1) == 1 && found[0].data.u64 == 101);
    CHECK(write(ends[1][1], "x", 1) == 1 && epoll_wait(epoll, found, 4, 0) == 0);
    change(EPOLL_CTL_MOD, ends[1][0], EPOLLIN | EPOLLONESHOT, 101);
    CHECK(epoll_wait(epoll, found, 4, -1) == 1 && found[0].data.u64 == 101);
    CHECK(read(ends[1][0], bytes, 4) == 2);
    change(EPOLL_CTL_MOD, ends[1][0], EPOLLIN | EPOLLONESHOT, 101);
  }
  for (int i = 0; i < 2; i++) change(EPOLL_CTL_MOD, ends[i][0], EPOLLIN, data_of(i));
}

// A wait that a signal ends.
static void waits(void) {
  struct itimerval period = {{0, 20000}, {0, 20000}}, none = {{0, 0}, {0, 0}};
  const int before = ticks;
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  CHECK(epoll_wait(epoll, found, 5, -1) == -1 && errno == EINTR && ticks > before);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

static void while_signals_come(int until) {
  struct itimerval period = {{0, 900}, {0, 900}}, none = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
  for (ticks = 0; ticks < until;) steps(20);
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

// Polls without ever waiting, for what another task is to write.
static void poll_until(uint64_t data) {
  int got;
  while ((got = epoll_wait(epoll, found, 5, 0)) == 0) continue;
  char byte;
  CHECK(got == 1 && found[0].data.u64 == data);
  CHECK(read(ends[(uint32_t)data][0], &byte, 1) == 1);
}

static void* writes(void* argument) {
  const int which = (int)(intptr_t)argument;
  sleep_ms(2);
  CHECK(write(ends[which][1], "x", 1) == 1);
  return NULL;
}

static void with_child(void) {
  for (int i = 0; i < 3; i++) {
    const pid_t child = forked();
    if (child == 0) {
      writes((void*)(intptr_t)(i + 1));
      _exit(3);
    }
    poll_until(data_of(i + 1));
    CHECK(status_of(child) == 3);
  }
  // The child has the same epoll, and what it takes is taken.
  for (int i = 0; i < 3; i++) {
    const pid_t child = forked();
    if (child == 0) {
      steps(100);
      change(EPOLL_CTL_MOD, ends[0][0], EPOLLIN | EPOLLONESHOT, data_of(0));
      CHECK(write(ends[0][1], "x", 1) == 1);
      CHECK(epoll_wait(epoll, found, 5, -1) == 1 && epoll_wait(epoll, found, 5, 0) == 0);
      _exit(4);
    }
    CHECK(status_of(child) == 4 && epoll_wait(epoll, found, 5, 0) == 0);
    change(EPOLL_CTL_MOD, ends[0][0], EPOLLIN, data_of(0));
    char byte;
    CHECK(epoll_wait(epoll, found, 5, -1) == 1 && read(ends[0][0], &byte, 1) == 1);
  }
}

// One epoll in another one, and a file that is none of the kernel's own.
static void nested(void) {
  const int outer = epoll_create1(0), inner = epoll, timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 9}, one[3];
  CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, timer, &wanted) == 0);
  const struct itimerspec soon = {{0, 1000000}, {0, 1000000}};
  CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
  for (int i = 0; i < 30; i++) {
    uint64_t times;
    CHECK(epoll_wait(outer, one, 3, -1) == 1 && one[0].data.u64 == 9);
    CHECK(read(timer, &times, 8) == 8 && times >= 1);
  }
  CHECK(close(timer) == 0);
  wanted.data.u64 = 10;
  CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &wanted) == 0);
  for (int i = 0; i < 50; i++) {
    CHECK(epoll_wait(outer, one, 3, 0) == 0 && write(ends[i % kPairs][1], "x", 1) == 1);
    CHECK(epoll_wait(outer, one, 3, -1) == 1 && one[0].data.u64 == 10);
    CHECK(epoll_wait(inner, found, 5, -1) == 1 && found[0].data.u64 == data_of(i % kPairs));
    char byte;
    CHECK(read(ends[i % kPairs][0], &byte, 1) == 1);
  }
  steps(100);
  CHECK(close(outer) == 0);
}

static void named_pipe(void) {
  unlink("fifo");
  CHECK(mkfifo("fifo", 0600) == 0);
  const int fifo = open("fifo", O_RDWR | O_NONBLOCK);
  change(EPOLL_CTL_ADD, fifo, EPOLLIN, 55);
  steps(100);
  CHECK(write(fifo, "x", 1) == 1);
  CHECK(epoll_wait(epoll, found, 5, -1) == 1 && found[0].data.u64 == 55 && close(fifo) == 0);
  steps(100);
}

// Its number becomes another epoll's, a pipe's, and its own again.
static void other_descriptors(void) {
  const int kept = dup(epoll), other = epoll_create1(0), event = eventfd(3, EFD_NONBLOCK);
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 8};
  CHECK(epoll_ctl(other, EPOLL_CTL_ADD, event, &wanted) == 0);
  CHECK(dup2(other, epoll) == epoll && close(other) == 0);
  for (int i = 0; i < 50; i++) {
    CHECK(epoll_wait(epoll, found, 5, -1) == 1 && found[0].data.u64 == 8);
  }
  CHECK(dup2(ends[0][0], epoll) == epoll);
  CHECK(epoll_wait(epoll, found, 5, 0) == -1 && errno == EINVAL);
  CHECK(dup2(kept, epoll) == epoll && close(kept) == 0 && close(event) == 0);
  steps(200);
}

static atomic_int got_once, go_on = 1;
static int counted, their_epoll;

// Several threads take from one epoll; each event reaches one of them.
static void* takes(void* argument) {
  struct epoll_event one;
  for (;;) {
    const int got = epoll_wait(their_epoll, &one, 1, (int)(intptr_t)argument);
    if (got == 0 || (got == -1 && errno == EINTR)) continue;
    CHECK(got == 1);
    if (one.data.u64 == 2) return NULL;
    uint64_t value;
    CHECK(read(counted, &value, 8) == 8 && value == 1);
    got_once++;
    struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 1};
    CHECK(epoll_ctl(their_epoll, EPOLL_CTL_MOD, counted, &again) == 0);
  }
}

static void taken_by_threads(void) {
  const int end = eventfd(0, 0);
  counted = eventfd(0, EFD_SEMAPHORE);
  their_epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event one = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 1};
  struct epoll_event two = {.events = EPOLLIN, .data.u64 = 2};
  CHECK(epoll_ctl(their_epoll, EPOLL_CTL_ADD, counted, &one) == 0);
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = started(takes, (void*)(intptr_t)(i - 1));
  for (uint64_t i = 0; i < 60; i++) {
    const uint64_t by = 1 + i % 3;
    CHECK(write(counted, &by, 8) == 8);
  }
  while (got_once < 120) sleep_ms(1);
  CHECK(epoll_ctl(their_epoll, EPOLL_CTL_ADD, end, &two) == 0 && eventfd_write(end, 1) == 0);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  CHECK(got_once == 120 && close(their_epoll) == 0 && close(counted) == 0 && close(end) == 0);
}

static void* computing(void* argument) {
  uint64_t sum = 0;
  sigset_t all;  // who takes another one's signal ends that one's wait
  CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
  while (go_on) sum += computed(20000);
  return (void*)((uintptr_t)argument + (sum | 1));
}

static void* cancelled(void* argument) {
  (void)argument;
  struct epoll_event one;
  for (;;) CHECK(epoll_wait(epoll, &one, 1, 1) == 0);
}

static void cancel_one(void) {
  const pthread_t waiting = started(cancelled, NULL);
  void* result;
  sleep_ms(20);
  CHECK(pthread_cancel(waiting) == 0 && pthread_join(waiting, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
}

static void* with_own_descriptors(void* argument) {
  (void)argument;
  struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 4}, one;
  const int event = eventfd(1, 0), other = epoll_create1(0);
  CHECK(unshare(CLONE_FILES) == 0 && epoll_ctl(other, EPOLL_CTL_ADD, event, &wanted) == 0);
  CHECK(dup2(other, epoll) == epoll);
  for (int i = 0; i < 30; i++) CHECK(epoll_wait(epoll, &one, 1, -1) == 1 && one.data.u64 == 4);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  epoll = epoll_create1(0);
  for (int i = 0; i < kPairs; i++) {
    const int made = i % 2 == 0 ? pipe(ends[i]) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]);
    CHECK(made == 0);
    change(EPOLL_CTL_ADD, ends[i][0], EPOLLIN, data_of(i));
  }
  steps(500);
  for (int i = 0; i < 3; i++) nothing_there(40), refused_calls(), at_end_of_memory(), steps(20);
  edges();
  waits();
  while_signals_come(40);
  waits();
  with_child();
  other_descriptors();
  // With threads.
  const pthread_t other = started(computing, NULL);
  steps(60);
  nothing_there(5), refused_calls(), at_end_of_memory();
  waits();
  while_signals_come(20);
  go_on = 0;
  joined(other);
  steps(200);
  edges();
  for (int i = 1; i < 6; i++) {
    const pthread_t writer = started(writes, (void*)(intptr_t)i);
    poll_until(data_of(i));
    joined(writer);
  }
  cancel_one();
  taken_by_threads();
  nested();
  named_pipe();
  joined(started(with_own_descriptors, NULL));
  steps(100);
  return passed();
}
