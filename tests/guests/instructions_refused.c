// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "tasks.h"

// Instructions that the translator does not know, and that raise a signal: a far jump to a segment
// that is none, far returns and IRET whose frame is bad or not there.
static volatile int raised;

static void skip(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  raised = number;
  (void)info;
  state->uc_mcontext.gregs[REG_RIP] = state->uc_mcontext.gregs[REG_R8];
  state->uc_mcontext.gregs[REG_RSP] = state->uc_mcontext.gregs[REG_R9];
}

static char stack[65536];

#define RAISES(instructions)                                                                \
  raised = 0;                                                                               \
  __asm__ volatile("mov %%rsp, %%r9\n lea 1f(%%rip), %%r8\n sub $256, %%rsp\n" instructions \
                   "\n 1: mov %%r9, %%rsp" ::                                               \
                       : "rax", "r8", "r9", "memory", "cc");                                \
  CHECK(raised == SIGSEGV)

int main(void) {
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  CHECK(sigaltstack(&alternate, NULL) == 0);
  struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  static uint64_t target[2] = {0, 0x1233};
  __asm__ volatile("" ::"r"(target) : "memory");
  RAISES("push $0x1233\n push %%r8\n lretq");
  RAISES("push $0\n push %%r8\n lretq");
  RAISES("mov $16, %%esp\n lretq");
  RAISES("mov $16, %%esp\n iretq");
  RAISES("push $0\n push %%r9\n pushf\n push $0x33\n push %%r8\n iretq");
  RAISES("push $0x2b\n push %%r9\n pushf\n push $8\n push %%r8\n iretq");
  raised = 0;
  __asm__ volatile("mov %%rsp, %%r9\n lea 1f(%%rip), %%r8\n ljmp *%0\n 1:" ::"m"(target)
                   : "r8", "r9", "memory");
  CHECK(raised == SIGSEGV);
  return passed();
}
