// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/select.h>

#include "tasks.h"

// A call that a kill cuts short stores how long it had to go on, and is not heard of any more.
static void killed_in(int kind) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    struct timespec time = {60, 0}, rest = {7, 7};
    struct timeval select_time = {60, 0};
    char ready = 1;
    CHECK(write(ends[1], &ready, 1) == 1);
    if (kind == 0) nanosleep(&time, &rest);
    if (kind == 1) clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &rest);
    if (kind == 2) syscall(SYS_ppoll, NULL, 0, &time, NULL, 8);
    if (kind == 3) syscall(SYS_select, 0, NULL, NULL, NULL, &select_time);
    int other[2];
    if (kind == 4) CHECK(pipe(other) == 0 && read(other[0], &ready, 1) >= 0);
    _exit(1);
  }
  char ready;
  CHECK(read(ends[0], &ready, 1) == 1);
  sleep_ms(5);
  CHECK(kill(child, kind % 2 == 0 ? SIGKILL : SIGTERM) == 0);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
  printf("%d: signal %d\n", kind, WTERMSIG(status));
}

int main(void) {
  for (int kind = 0; kind < 5; kind++) killed_in(kind);
  return passed();
}
