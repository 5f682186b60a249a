// build: -O1 -D_GNU_SOURCE
// varies: where the profiler's ticks fell
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tasks.h"

// A profiler: counts at which pc its ticks find the program.
static volatile unsigned long ticks, pc_sum;

static void handler(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  (void)number, (void)info;
  ticks++;
  pc_sum = pc_sum * 31 + (unsigned long)state->uc_mcontext.gregs[REG_RIP];
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
  struct itimerval every = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
  CHECK(sigaction(SIGPROF, &action, NULL) == 0 && setitimer(ITIMER_PROF, &every, NULL) == 0);
  uint64_t expected = computed(100000);
  while (ticks < 40) CHECK(computed(100000) == expected);
  CHECK(setitimer(ITIMER_PROF, &off, NULL) == 0);
  printf("%lu ticks, %lx\n", ticks, pc_sum);
  return passed();
}
