// build: -O1
// stops: a handled signal
#include <signal.h>

#include "guest.h"

static volatile sig_atomic_t seen;

static void handler(int number) { seen = number; }

int main(void) {
  puts("before");
  fflush(stdout);
  signal(SIGUSR1, handler);
  CHECK(raise(SIGUSR1) == 0 && seen == SIGUSR1);
  return passed();
}
