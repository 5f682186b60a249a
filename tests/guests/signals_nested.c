// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Each handler raises the next signal; sa_mask keeps one of them back until the handler's end.
static char order[16];

static void note(char what) { order[strlen(order)] = what; }

static void third(int number) {
  (void)number;
  note('c');
}

static void second(int number) {
  (void)number;
  note('b');
  raise(SIGUSR1);  // being handled: comes later
  raise(SIGRTMIN);
  note('B');
}

static void first(int number) {
  static int times;
  (void)number;
  note('a');
  if (times++ == 0) raise(SIGUSR2);
  note('A');
}

int main(void) {
  struct sigaction action = {.sa_handler = first};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  action.sa_handler = third;
  CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
  action.sa_handler = second;
  sigaddset(&action.sa_mask, SIGRTMIN);
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  CHECK(raise(SIGUSR1) == 0);
  puts(order);
  CHECK(strcmp(order, "abBcAaA") == 0);
  return passed();
}
