// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "guest.h"

// A branch to an address that is not canonical faults at the branch, and has pushed and popped
// nothing; one to a canonical address where nothing is faults there.
static volatile int faults;
static uint64_t faulting, stack, kept;

static void handler(int number, siginfo_t* info, void* context) {
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  faults += number == SIGSEGV && info->si_code == SI_KERNEL && info->si_addr == NULL;
  faulting = (uint64_t)registers[REG_RIP];
  stack = (uint64_t)registers[REG_RSP];
  kept = *(uint64_t*)(stack - 8);
  registers[REG_RIP] = registers[REG_RBX];
  registers[REG_RSP] = registers[REG_R12];
}

// `push` comes in front of the branch and moves rsp; rbp keeps it.
#define BRANCH(push, code)                                                                       \
  do {                                                                                           \
    uint64_t at, sp;                                                                             \
    __asm__ volatile(                                                                            \
        "mov %%rsp, %%r12; sub $512, %%rsp; movq $77, -8(%%rsp); mov %2, %%rax\n"                \
        "lea 2f(%%rip), %%rbx; " push " lea 1f(%%rip), %%rcx; mov %%rsp, %%rdx; 1: " code "; 2:" \
        : "=c"(at), "=d"(sp)                                                                     \
        : "r"(target)                                                                            \
        : "rax", "rbx", "r12", "memory", "cc");                                                  \
    CHECK(faulting == at && stack == sp);                                                        \
  } while (0)

int main(void) {
  static const uint64_t targets[] = {0x66e9fdb479dccbfd, 0xffff7fffffffffff, 0x800000000000,
                                     0x4141414141414141};
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  static char other_stack[1 << 16];
  stack_t alternate = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
  CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
  for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
    const uint64_t target = targets[i];
    const int before = faults;
    BRANCH("", "jmp *%%rax");
    BRANCH("", "call *%%rax");
    CHECK(kept == 77);
    BRANCH("push %%rax;", "ret");
    BRANCH("push %%rax;", "ret $16");
    BRANCH("push %%rax;", "jmp *(%%rsp)");
    BRANCH("push %%rax;", "call *(%%rsp)");
    CHECK(faults == before + 6);
  }
  return passed();
}
