// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>

#include "tasks.h"

// A process-wide timer that hits whichever of four threads computes; each has values of its own
// in registers all the while.
static atomic_int ticks;

static void handler(int number) {
  (void)number;
  ticks++;
}

static void* compute(void* argument) {
  uint64_t rounds = 3000 + (uintptr_t)argument, expected = computed(rounds);
  while (ticks < 60) CHECK(computed(rounds) == expected);
  return NULL;
}

int main(void) {
  struct itimerval every = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  pthread_t threads[3];
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0);
  for (intptr_t i = 0; i < 3; i++) threads[i] = started(compute, (void*)(i * 100));
  compute((void*)1000);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  return passed();
}
