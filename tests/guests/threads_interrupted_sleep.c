// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// A thread's sleep is interrupted while another one computes on: how long it had still to go is in
// its memory before its handler runs.
static volatile int handled, returned;

static void on_signal(int number) {
  (void)number;
  handled++;
}

static void* sleeps(void* argument) {
  struct timespec* rest = argument;
  const struct timespec whole = {.tv_sec = 1000};
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &whole, rest) == EINTR);
  returned++;
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  for (int i = 0; i < 3; i++) {
    struct timespec rest = {.tv_sec = 1000};
    pthread_t thread = started(sleeps, &rest);
    sleep_ms(5);
    // Again and again: it may not sleep yet.
    for (int before = handled; returned == i; before = handled) {
      CHECK(pthread_kill(thread, SIGUSR1) == 0);
      CHECK(computed(40000000) != 0);
      while (handled == before && returned == i) sleep_ms(1);
    }
    joined(thread);
    CHECK(rest.tv_sec < 1000);
  }
  return passed();
}
