// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "tasks.h"

// What a handler changes in its ucontext is in the registers when it returns: general ones, flags,
// vector registers and the mask.
static void handler(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  (void)number, (void)info;
  state->uc_mcontext.gregs[REG_RBX] = 0x1111;
  state->uc_mcontext.gregs[REG_R11] = 0x2222;
  state->uc_mcontext.gregs[REG_RCX] = 0x3333;
  state->uc_mcontext.gregs[REG_EFL] |= 1;  // the carry flag
  state->uc_mcontext.fpregs->_xmm[5].element[0] = 0x4444;
  sigaddset(&state->uc_sigmask, SIGUSR2);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  uint64_t rbx = 0, r11 = 0, rcx = 0, xmm = 0;
  unsigned char carry = 0;
  register long tid __asm__("rdi") = own_tid();
  register long number __asm__("rsi") = SIGUSR1;
  long result = SYS_tkill;
  __asm__ volatile(
      "clc\n pxor %%xmm5, %%xmm5\n xor %%ebx, %%ebx\n syscall\n"
      "setc %[carry]\n mov %%rbx, %[rbx]\n mov %%r11, %[r11]\n movq %%xmm5, %[xmm]"
      : "+a"(result), [carry] "=&r"(carry), [rbx] "=&r"(rbx), [r11] "=&r"(r11), [xmm] "=&r"(xmm),
        "=c"(rcx)
      : "r"(tid), "r"(number)
      : "rbx", "r11", "xmm5", "memory", "cc");
  CHECK(result == 0 && carry == 1 && rbx == 0x1111 && r11 == 0x2222 && rcx == 0x3333);
  CHECK(xmm == 0x4444);
  sigset_t now;
  CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR2) == 1);
  return passed();
}
