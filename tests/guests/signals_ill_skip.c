// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "tasks.h"

// The handler steps over the instruction that nobody knows, as emulators of instructions do.
static volatile int skipped_over;

static void handler(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  unsigned char* at = (unsigned char*)state->uc_mcontext.gregs[REG_RIP];
  CHECK(info->si_addr == at && at[0] == (number == SIGILL ? 0x0f : at[0]));
  if (number == SIGILL) {
    CHECK(at[1] == 0x0b);
    state->uc_mcontext.gregs[REG_RIP] += 2;
    state->uc_mcontext.gregs[REG_RAX] = 1234;
  }
  skipped_over++;
}

static void trap(int number, siginfo_t* info, void* context) {
  (void)context;
  CHECK(number == SIGTRAP && info->si_code == SI_KERNEL);
  skipped_over += 100;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGILL, &action, NULL) == 0);
  action.sa_sigaction = trap;
  CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
  for (int i = 0; i < 10; i++) {
    long rax = 0;
    __asm__ volatile("ud2" : "+a"(rax));
    CHECK(rax == 1234);
  }
  // int3 leaves the pc behind itself.
  __asm__ volatile("int3");
  CHECK(skipped_over == 110);
  return passed();
}
