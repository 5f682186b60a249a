// build: -O1 -D_GNU_SOURCE
// stops: a process that shares its memory
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "guest.h"

static char stack[65536] __attribute__((aligned(16)));
static volatile int value;

static int child(void* argument) {
  value = *(int*)argument;
  return 0;
}

int main(void) {
  int seven = 7, status;
  pid_t pid = clone(child, stack + sizeof stack, CLONE_VM | SIGCHLD, &seven);
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && value == 7);
  return passed();
}
