// build: -O2 -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "tasks.h"

// Coroutines by ucontext, on stacks of their own, in two threads, also out of a signal handler.
static __thread ucontext_t main_context, routines[3];
static __thread int order[64], count;
static void routine(int which) {
  for (int i = 0; i < 5; i++) {
    order[count++] = which * 10 + i;
    swapcontext(&routines[which], &main_context);
  }
}

static void* run(void* unused) {
  (void)unused;
  int sum = 0;
  for (int i = 0; i < 3; i++) {
    CHECK(getcontext(&routines[i]) == 0);
    routines[i].uc_stack.ss_size = 65536;
    routines[i].uc_stack.ss_sp =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    routines[i].uc_link = &main_context;
    makecontext(&routines[i], (void (*)(void))routine, 1, i);
  }
  for (int round = 0; round < 5; round++)
    for (int i = 0; i < 3; i++) CHECK(swapcontext(&main_context, &routines[i]) == 0);
  for (int i = 0; i < 15; i++) sum += order[i] * (i + 1);
  CHECK(order[0] == 0 && order[1] == 10 && order[14] == 24);
  return (void*)(intptr_t)sum;
}

static ucontext_t before;
static volatile int handled;
static void on_signal(int number, siginfo_t* info, void* context) {
  (void)number, (void)info, (void)context;
  handled++;
  setcontext(&before);
}

int main(void) {
  pthread_t one = started(run, NULL), two = started(run, NULL);
  CHECK(joined(one) == joined(two));
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(getcontext(&before) == 0);
  if (handled < 3) raise(SIGUSR1);
  CHECK(handled == 3);
  return passed();
}
