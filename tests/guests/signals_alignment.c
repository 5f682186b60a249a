// build: -O0 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>
#include "guest.h"

// The AC flag: a misaligned access gets SIGBUS.
static volatile int faults;
static void on_bus(int number, siginfo_t* info, void* context) {
  (void)number;
  faults += info->si_code == BUS_ADRALN;
  ((ucontext_t*)context)->uc_mcontext.gregs[REG_EFL] &= ~0x40000;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGBUS, &action, NULL) == 0);
  static char bytes[16] __attribute__((aligned(16))) = "0123456789abcde";
  unsigned value;
  __asm__ volatile(
      "sub $128, %%rsp\n pushf\n orl $0x40000, (%%rsp)\n popf\n"
      "mov 1(%1), %0\n pushf\n andl $0xfffbffff, (%%rsp)\n popf\n add $128, %%rsp"
      : "=&r"(value)
      : "r"(bytes)
      : "cc", "memory");
  CHECK(value == 0x34333231 && faults == 1);
  return passed();
}
