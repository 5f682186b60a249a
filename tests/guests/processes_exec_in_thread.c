// build: -O1 -pthread -D_GNU_SOURCE
// args: first
// status: 15
#include "tasks.h"

// execve in another thread than the first ends all others, and takes over the process's pid.
static char pid_text[16];

static void* compute(void* argument) {
  for (volatile uint64_t i = 0;; i++) {
  }
  return argument;
}

static void* execute(void* argument) {
  char* const arguments[] = {argument, "second", pid_text, NULL};
  sleep_ms(5);
  CHECK(own_tid() != getpid());
  execv("/proc/self/exe", arguments);
  return NULL;
}

int main(int argc, char** argv) {
  if (argc > 2) {
    CHECK(atoi(argv[2]) == getpid() && own_tid() == getpid());
    passed();
    return 15;
  }
  snprintf(pid_text, sizeof pid_text, "%d", getpid());
  started(compute, NULL);
  started(execute, argv[0]);
  pause();
  return 1;
}
