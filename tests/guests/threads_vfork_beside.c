// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// vfork holds up the thread that calls it, and no other one (vfork(2)).
static volatile int turns, stop;

static void* compute(void* argument) {
  while (stop == 0) {
    turns = turns + 1;
    computed(100);
  }
  return argument;
}

int main(void) {
  pthread_t thread = started(compute, NULL);
  for (int i = 0; i < 5; i++) {
    volatile int at_start = 0, at_end = 0;
    pid_t child = vfork();
    if (child == 0) {
      at_start = turns;
      while (turns < at_start + 5) usleep(1000);
      at_end = turns;
      if (i % 2 == 0) _exit(i);
      execl("/bin/sh", "sh", "-c", "exit 3", NULL);
      _exit(99);
    }
    CHECK(at_end >= at_start + 5 && status_of(child) == (i % 2 == 0 ? i : 3));
  }
  stop = 1;
  joined(thread);
  return passed();
}
