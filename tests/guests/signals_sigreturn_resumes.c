// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "tasks.h"

// A signal may start coroutines: swapcontext out of a handler and back, siglongjmp with the mask.
static ucontext_t outside, inside;
static char stack[65536];
static volatile int steps;

static void coroutine(void) {
  steps = steps * 10 + 2;
  swapcontext(&inside, &outside);
  steps = steps * 10 + 4;
}

static void handler(int number) {
  (void)number;
  steps = steps * 10 + 1;
  swapcontext(&outside, &inside);
  steps = steps * 10 + 3;
}

int main(void) {
  signal(SIGUSR1, handler);
  CHECK(getcontext(&inside) == 0);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = sizeof stack;
  inside.uc_link = &outside;
  makecontext(&inside, coroutine, 0);
  CHECK(raise(SIGUSR1) == 0 && steps == 123);
  CHECK(raise(SIGUSR1) == 0 && steps == 123143);
  return passed();
}
