// build: -O1 -D_GNU_SOURCE
#include <sched.h>

#include "tasks.h"

// A parent that waits until its child has ended or executes a program, as with vfork, and has its
// memory for itself.
static volatile int number = 1;

static pid_t made(void) {
  fflush(stdout);
  return (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL);
}

int main(void) {
  for (int i = 0; i < 5; i++) {
    pid_t child = made();
    CHECK(child >= 0);
    if (child == 0) {
      number = 2;
      pid_t grandchild = made();
      if (grandchild == 0) {
        number = 3;
        execl("/bin/true", "true", NULL);
        _exit(1);
      }
      CHECK(status_of(grandchild) == 0 && number == 2);
      _exit(30 + i);
    }
    CHECK(number == 1 && status_of(child) == 30 + i);
  }
  return passed();
}
