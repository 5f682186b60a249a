// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "tasks.h"

// Timers that tick faster than anybody could record: the program goes on all the same, in
// computations and in calls, and a call that a tick interrupts fails as natively.
static volatile long ticks;

static void on_tick(int number) { ticks += number == SIGALRM || number == SIGRTMIN; }

static void set_interval(long microseconds) {
  const struct itimerval every = {{0, microseconds}, {0, microseconds}};
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
}

static void go_on(void) {
  const long before = ticks;
  CHECK(computed(3000000) != 0);
  for (int i = 0; i < 20; i++) CHECK(getppid() > 0 && write(2, "", 0) == 0);
  while (ticks < before + 5) computed(1000);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_tick};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0);
  static volatile char memory[8 << 20];
  for (size_t i = 0; i < sizeof memory; i += 512) memory[i] = 1;
  set_interval(20);
  go_on();
  for (int i = 0; i < 5; i++) CHECK(pause() == -1 && errno == EINTR);
  set_interval(0);

  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
  timer_t timer;
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  const struct itimerspec often = {{0, 20000}, {0, 20000}};
  CHECK(timer_settime(timer, 0, &often, NULL) == 0);
  go_on();
  CHECK(timer_delete(timer) == 0);
  return passed();
}
