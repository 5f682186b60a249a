// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>

#include "tasks.h"

static pid_t ending(int status, int ms) {
  pid_t child = forked();
  if (child == 0) {
    if (ms > 0) sleep_ms(ms);
    _exit(status);
  }
  return child;
}

int main(void) {
  int status;
  siginfo_t info = {0};
  struct rusage usage;
  CHECK(wait(&status) == -1 && errno == ECHILD);
  pid_t child = ending(3, 10);
  CHECK(waitpid(child, &status, WNOHANG) == 0);
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
  CHECK(info.si_pid == child && info.si_status == 3 && info.si_code == CLD_EXITED);
  CHECK(info.si_signo == SIGCHLD && info.si_uid == getuid());
  CHECK(wait4(child, &status, 0, &usage) == child && WEXITSTATUS(status) == 3);
  CHECK(usage.ru_maxrss > 0 && waitpid(child, &status, 0) == -1 && errno == ECHILD);

  child = forked();
  if (child == 0) {
    raise(SIGTERM);
    _exit(1);
  }
  CHECK(waitid(P_ALL, 0, &info, WEXITED) == 0 && info.si_pid == child);
  CHECK(info.si_code == CLD_KILLED && info.si_status == SIGTERM);

  child = forked();
  if (child == 0) {
    CHECK(setpgid(0, 0) == 0);
    sleep_ms(10);
    _exit(4);
  }
  (void)setpgid(child, child);
  CHECK(waitpid(-getpgrp(), &status, WNOHANG) == -1 && errno == ECHILD);
  CHECK(waitpid(-child, &status, 0) == child && WEXITSTATUS(status) == 4);

  pid_t first = ending(1, 0), second = ending(2, 0);
  int sum = 0;
  for (int i = 0; i < 2; i++) {
    pid_t one = wait(&status);
    CHECK(one == first || one == second);
    sum += WEXITSTATUS(status) * (one == first ? 1 : 10);
  }
  CHECK(sum == 21);
  return passed();
}
