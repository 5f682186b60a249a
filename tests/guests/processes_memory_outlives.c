// build: -O1 -D_GNU_SOURCE
// status: 7
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "tasks.h"

// Processes that go on in the memory of one that has ended: until they end, or execute a program.
extern char** environ;
static char stack[65536] __attribute__((aligned(16)));
static volatile int stored;

static void outlive(void) {
  const pid_t parent = getppid();
  stored = 1;
  while (getppid() == parent) sleep_ms(1);
  CHECK(stored == 2);
  stored = (int)(computed(100000) & 0xff);
}

static int end_later(void* unused) {
  (void)unused;
  outlive();
  return 5;
}

static int execute_later(void* unused) {
  (void)unused;
  outlive();
  char* const arguments[] = {"outlives", "6", NULL};
  execve("/proc/self/exe", arguments, environ);
  return 99;
}

static void leave_behind(int (*body)(void*)) {
  CHECK(clone(body, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL) > 0);
  while (stored == 0) sched_yield();
  stored = 2;
}

int main(int argc, char** argv) {
  if (argc > 1) return atoi(argv[1]);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  int (*const bodies[])(void*) = {end_later, execute_later};
  for (int i = 0; i < 2; i++) {
    pid_t child = forked();
    if (child == 0) {
      leave_behind(bodies[i]);
      _exit(3 + i);
    }
    CHECK(status_of(child) == 3 + i);
    int status;
    CHECK(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 5 + i);
  }
  // The first process of all as well.
  passed();
  fflush(stdout);
  leave_behind(execute_later);
  _exit(7);
}
