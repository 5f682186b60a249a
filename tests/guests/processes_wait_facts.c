// build: -O1 -D_GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include "tasks.h"

// What wait4 and waitid say of children: usage, siginfo, WNOWAIT, WCLONE, groups; SIGCHLD's
// siginfo.
static volatile int child_code, child_status, child_count;
static volatile pid_t child_pid;
static void on_child(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  child_code = info->si_code, child_status = info->si_status, child_pid = info->si_pid;
  child_count++;
}

static int body(void* unused) {
  (void)unused;
  return 12;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
  pid_t child = forked();
  if (child == 0) {
    uint64_t sum = 0;
    struct timespec used;
    do {
      sum += computed(100000);
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    } while (used.tv_nsec < 20000000);
    _exit(sum ? 33 : 1);
  }
  siginfo_t info;
  memset(&info, 0xff, sizeof info);
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
  CHECK(info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 33);
  struct rusage usage, children;
  int status;
  CHECK(wait4(child, &status, 0, &usage) == child && WEXITSTATUS(status) == 33);
  CHECK(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 1000 && usage.ru_maxrss > 0);
  CHECK(getrusage(RUSAGE_CHILDREN, &children) == 0);
  CHECK(children.ru_utime.tv_usec >= usage.ru_utime.tv_usec || children.ru_utime.tv_sec > 0);
  CHECK(child_code == CLD_EXITED && child_status == 33 && child_pid == child);
  child = forked();
  if (child == 0) {
    raise(SIGSTOP);
    raise(SIGQUIT);
    _exit(1);
  }
  CHECK(waitid(P_ALL, 0, &info, WSTOPPED) == 0 && info.si_status == SIGSTOP &&
        info.si_code == CLD_STOPPED);
  CHECK(kill(child, SIGCONT) == 0 && waitid(P_PGID, 0, &info, WCONTINUED | WEXITED) == 0);
  CHECK(info.si_code == CLD_CONTINUED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
  if (info.si_code == CLD_CONTINUED) CHECK(waitid(P_PGID, (id_t)getpgrp(), &info, WEXITED) == 0);
  CHECK(info.si_status == SIGQUIT);
  // A child that tells nobody: found with __WCLONE only.
  static char stack[65536] __attribute__((aligned(16)));
  child = clone(body, stack + sizeof stack, CLONE_VM | CLONE_FS, NULL);
  CHECK(child > 0 && waitpid(child, &status, 0) == -1 && errno == ECHILD);
  CHECK(waitpid(child, &status, __WCLONE) == child && WEXITSTATUS(status) == 12);
  // Another signal than SIGCHLD.
  signal(SIGUSR2, SIG_IGN);
  child = clone(body, stack + sizeof stack, SIGUSR2, NULL);
  CHECK(waitpid(child, &status, __WALL) == child && WEXITSTATUS(status) == 12);
  // Nobody becomes a zombie where SIGCHLD is ignored.
  signal(SIGCHLD, SIG_IGN);
  child = forked();
  if (child == 0) _exit(0);
  CHECK(waitpid(child, &status, 0) == -1 && errno == ECHILD);
  return passed();
}
