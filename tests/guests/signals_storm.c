// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>
#include "tasks.h"

// A child that sends signals as fast as it can, a timer, and threads that compute and make calls;
// handlers that nest and count.
static atomic_int counts[65];  // handlers run in several threads
static volatile uint64_t mixed;
static void on_signal(int number, siginfo_t* info, void* context) {
  (void)context;
  counts[number]++;
  mixed = mixed * 31 + (uint64_t)number + (uint64_t)info->si_code;
}

static volatile int over;
static void* work(void* which) {
  uint64_t sum = 0;
  do {
    sum += computed(3000);
    if (which) sched_yield();
  } while (!over);
  return (void*)(intptr_t)(sum != 0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  int numbers[] = {SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 3, SIGALRM, SIGURG, SIGCHLD};
  for (size_t i = 0; i < 7; i++) CHECK(sigaction(numbers[i], &action, NULL) == 0);
  pid_t self = getpid(), child = forked();
  if (child == 0) {
    for (int i = 0; i < 300; i++) {
      CHECK(kill(self, numbers[i % 4]) == 0);
      if (i % 10 == 0) sched_yield();
    }
    _exit(0);
  }
  struct itimerval every = {{0, 1500}, {0, 1500}};
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  pthread_t one = started(work, NULL), two = started(work, (void*)1);
  CHECK(status_of(child) == 0);
  while (counts[SIGALRM] < 5) (void)computed(1000);
  memset(&every, 0, sizeof every);
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  over = 1;
  CHECK(joined(one) == 1 && joined(two) == 1);
  CHECK(counts[SIGRTMIN] == 75 && counts[SIGRTMIN + 3] == 75 && counts[SIGUSR1] > 0);
  CHECK(counts[SIGCHLD] == 1 && mixed != 0);
  return passed();
}
