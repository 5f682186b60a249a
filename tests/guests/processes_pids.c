// build: -O1 -pthread -D_GNU_SOURCE
// varies: the pids and the moments that it prints, which a replay must repeat
#include "tasks.h"

static void* say(void* argument) {
  printf("thread %d of %d\n", own_tid(), getpid());
  return argument;
}

int main(void) {
  printf("first %d, parent %d, group %d, session %d\n", getpid(), getppid(), getpgrp(), getsid(0));
  for (int i = 0; i < 3; i++) {
    pid_t child = forked();
    if (child == 0) {
      joined(started(say, NULL));
      printf("child %d of %d at %lld\n", getpid(), getppid(), (long long)now_ns());
      fflush(stdout);
      _exit(0);
    }
    CHECK(status_of(child) == 0);
  }
  return passed();
}
