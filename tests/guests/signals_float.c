// build: -O0 -D_GNU_SOURCE -lm
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include "tasks.h"

// Floating point traps of SSE and of x87 (which come one instruction late), rounding modes that
// threads and children inherit.
static volatile int code;
static sigjmp_buf back;
static void on_fpe(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  code = info->si_code;
  siglongjmp(back, 1);
}

static void* rounding(void* unused) {
  (void)unused;
  return (void*)(intptr_t)fegetround();
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGFPE, &action, NULL) == 0);
  volatile double zero = 0, one = 1, result;
  volatile long double zero_l = 0, one_l = 1, result_l;
  feenableexcept(FE_DIVBYZERO);
  if (sigsetjmp(back, 1) == 0) result = one / zero;
  CHECK(code == FPE_FLTDIV);
  code = 0;
  feenableexcept(FE_DIVBYZERO);
  if (sigsetjmp(back, 1) == 0) {
    result_l = one_l / zero_l;
    __asm__ volatile("fwait");
  }
  CHECK(code == FPE_FLTDIV);
  feclearexcept(FE_ALL_EXCEPT);
  fedisableexcept(FE_ALL_EXCEPT);
  __asm__ volatile("fnclex");
  feenableexcept(FE_INVALID);
  code = 0;
  if (sigsetjmp(back, 1) == 0) result = zero / zero;
  CHECK(code == FPE_FLTINV);
  fedisableexcept(FE_ALL_EXCEPT);
  feclearexcept(FE_ALL_EXCEPT);
  result = one / 3;
  CHECK(fetestexcept(FE_INEXACT));
  fesetround(FE_UPWARD);
  double up = one / 3;
  CHECK(joined(started(rounding, NULL)) == FE_UPWARD);
  pid_t child = forked();
  if (child == 0) _exit(fegetround() == FE_UPWARD && one / 3 == up ? 5 : 6);
  fesetround(FE_DOWNWARD);
  CHECK(status_of(child) == 5 && one / 3 < up);
  (void)result, (void)result_l;
  return passed();
}
