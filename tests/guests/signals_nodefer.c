// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static volatile int depth, deepest, calls;

static void handler(int number) {
  depth++;
  calls++;
  if (depth > deepest) deepest = depth;
  if (calls < 5) raise(number);
  depth--;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && raise(SIGUSR1) == 0);
  CHECK(calls == 5 && deepest == 5);
  calls = deepest = 0;
  action.sa_flags = 0;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && raise(SIGUSR1) == 0);
  CHECK(calls == 5 && deepest == 1);
  action.sa_flags = (int)SA_RESETHAND;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  calls = 5;
  CHECK(raise(SIGUSR1) == 0 && calls == 6);
  CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
  return passed();
}
