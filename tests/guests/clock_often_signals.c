// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/ucontext.h>

#include "tasks.h"

// Signals come while the clock is read without stops, and their handlers read it too.
static volatile sig_atomic_t handled, in_code_of_nobody;
static volatile int64_t last;
static sigjmp_buf back;

static void on_timer(int number, siginfo_t* info, void* context) {
  (void)number, (void)info, (void)context;
  const int64_t now = now_ns();
  if (now < last) in_code_of_nobody = 1;
  last = now;
  for (int i = 0; i < 70; i++) (void)now_ns();  // more than once around
  handled = handled + 1;
}

static void on_alarm(int number) {
  (void)number;
  siglongjmp(back, 1);
}

static void read_for(int signals) {
  handled = 0;
  while (handled < signals) {
    const int64_t before = last, now = now_ns();
    CHECK(now >= before);
    last = now_ns();
    CHECK(!in_code_of_nobody);
  }
}

static void tick(int which, int us) {
  struct itimerval period = {{0, us}, {0, us}};
  CHECK(setitimer(which, &period, NULL) == 0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGPROF, &action, NULL) == 0);
  tick(ITIMER_REAL, 700);
  read_for(40);
  tick(ITIMER_REAL, 0);
  tick(ITIMER_PROF, 1000);
  read_for(12);
  tick(ITIMER_PROF, 0);
  // Out of them by a jump.
  signal(SIGALRM, on_alarm);
  for (volatile int i = 0; i < 20; i++) {
    if (sigsetjmp(back, 1) == 0) {
      struct itimerval once = {{0, 0}, {0, 300 + i * 37}};
      CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
      for (;;) last = now_ns();
    }
  }
  // With the signal that the recorder's own traps raise blocked, then ignored.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTRAP);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  tick(ITIMER_REAL, 500);
  read_for(20);
  sigset_t now_blocked;
  CHECK(sigprocmask(SIG_UNBLOCK, &set, &now_blocked) == 0 && sigismember(&now_blocked, SIGTRAP));
  signal(SIGTRAP, SIG_IGN);
  read_for(20);
  tick(ITIMER_REAL, 0);
  CHECK(signal(SIGTRAP, SIG_DFL) == SIG_IGN);
  return passed();
}
