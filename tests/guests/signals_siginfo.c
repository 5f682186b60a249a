// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "tasks.h"

static siginfo_t last;
static void* volatile pc;

static void handler(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  CHECK(number == info->si_signo);
  last = *info;
  pc = (void*)state->uc_mcontext.gregs[REG_RIP];
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGCHLD, &action, NULL) == 0);
  CHECK(kill(getpid(), SIGUSR1) == 0);
  CHECK(last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid());
  CHECK(pc != NULL);
  CHECK(syscall(SYS_tgkill, getpid(), own_tid(), SIGUSR1) == 0 && last.si_code == SI_TKILL);
  union sigval value = {.sival_ptr = &last};
  CHECK(sigqueue(getpid(), SIGUSR1, value) == 0);
  CHECK(last.si_code == SI_QUEUE && last.si_value.sival_ptr == &last);
  last.si_pid = 0;
  pid_t child = forked();
  if (child == 0) _exit(33);
  CHECK(status_of(child) == 33);
  CHECK(last.si_signo == SIGCHLD && last.si_pid == child && last.si_status == 33);
  CHECK(last.si_code == CLD_EXITED);
  return passed();
}
