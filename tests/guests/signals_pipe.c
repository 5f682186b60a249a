// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <signal.h>

#include "tasks.h"

// SIGPIPE with a handler, and SIGIO from a pipe that says when it can be read.
static volatile int broken, readable;

static void handler(int number) { number == SIGPIPE ? broken++ : readable++; }

int main(void) {
  int ends[2];
  signal(SIGPIPE, handler);
  signal(SIGIO, handler);
  CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETOWN, getpid()) == 0);
  CHECK(fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
  CHECK(write(ends[1], "x", 1) == 1 && readable >= 1);
  CHECK(close(ends[0]) == 0);
  CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE && broken == 1);
  return passed();
}
