// build: -O0 -D_GNU_SOURCE
// stops: trap flag
#include <signal.h>
#include <ucontext.h>
#include "guest.h"

// A program that steps itself with the trap flag.
static volatile int steps;
static void on_trap(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  if (++steps >= 5) ((ucontext_t*)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
  unsigned long sum = 1;
  __asm__ volatile(
      "sub $128, %%rsp\n pushf\n orl $0x100, (%%rsp)\n popf\n"
      "add $3, %0\n add $5, %0\n add $7, %0\n nop\n nop\n nop\n nop\n add $128, %%rsp"
      : "+r"(sum)::"cc", "memory");
  CHECK(sum == 16 && steps == 5);
  return passed();
}
