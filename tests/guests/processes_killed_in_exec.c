// build: -O1 -D_GNU_SOURCE -pthread
#include <signal.h>

#include "tasks.h"

// Children with threads that become another program, and are killed at some time around that:
// before it, while the kernel is at it, or behind it.
enum { kChildren = 40, kThreads = 3 };

static void* busy(void* argument) {
  for (volatile long count = 0;; count++) {
  }
  return argument;
}

static void become(int number) {
  for (int i = 0; i < kThreads; i++) started(busy, NULL);
  char text[16];
  snprintf(text, sizeof text, "%d", number);
  char* arguments[] = {"sleep", text, NULL};
  if (number % 2 == 0) usleep(300);
  execv("/bin/sleep", arguments);
  _exit(1);
}

int main(void) {
  for (int i = 0; i < kChildren; i++) {
    const pid_t child = forked();
    if (child == 0) become(5 + i);
    usleep((useconds_t)i * 100);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(status_of(child) == 128 + SIGKILL);
  }
  return passed();
}
