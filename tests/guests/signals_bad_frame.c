// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include "tasks.h"

// A handler spoils its frame: the kernel raises a SIGSEGV where the program was interrupted, which
// no instruction there raises. Once behind a call, once in the handler of a fault.
static sigjmp_buf back;
static volatile int raised;

static void spoils(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  (void)number, (void)info;
  // A component that does not exist (SDM vol. 1, 13.4.2).
  *(uint64_t*)((char*)state->uc_mcontext.fpregs + 512) = ~0ull;
}

static void segv(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  raised = info->si_code == SI_KERNEL;
  siglongjmp(back, 1);
}

static void set(int number, void (*action)(int, siginfo_t*, void*)) {
  struct sigaction how = {.sa_sigaction = action, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(number, &how, NULL) == 0);
}

int main(void) {
  set(SIGSEGV, segv);
  set(SIGUSR1, spoils);
  set(SIGILL, spoils);
  if (sigsetjmp(back, 1) == 0) raise(SIGUSR1);
  CHECK(raised);
  raised = 0;
  if (sigsetjmp(back, 1) == 0) __asm__ volatile("ud2");
  CHECK(raised);
  return passed();
}
