// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "tasks.h"

static sigjmp_buf back;
static volatile int code;

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  code = info->si_code;
  siglongjmp(back, number);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  volatile int zero = 0, caught = 0, result = 1;
  CHECK(sigaction(SIGFPE, &action, NULL) == 0);
  for (int i = 0; i < 50; i++) {
    int number = sigsetjmp(back, 1);
    if (number == 0) {
      result = i / zero;
      return 1;
    }
    CHECK(number == SIGFPE && code == FPE_INTDIV);
    caught = caught + 1;
  }
  CHECK(caught == 50 && result == 1);
  return passed();
}
