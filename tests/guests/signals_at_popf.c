// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tasks.h"

// Signals that come where POPF or IRET is next: their handlers see the program's own flags.
static volatile int signals, traps;

static void on_alarm(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  (void)number, (void)info;
  signals++;
  if ((state->uc_mcontext.gregs[REG_EFL] & 0x100) != 0) traps++;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval interval = {.it_interval = {0, 5000}, .it_value = {0, 5000}};
  CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
  while (signals < 12) {
    for (int i = 0; i < 1000; i++)
      __asm__ volatile("sub $128, %%rsp\n pushf\n popf\n add $128, %%rsp" ::: "memory", "cc");
    for (int i = 0; i < 100; i++) {
      __asm__ volatile(
          "mov %%rsp, %%rdx\n sub $128, %%rsp\n push $0x2b\n push %%rdx\n pushf\n push $0x33\n"
          "lea 1f(%%rip), %%rax\n push %%rax\n iretq\n 1:" ::
              : "rax", "rdx", "memory", "cc");
    }
  }
  CHECK(traps == 0);
  return passed();
}
