// build: -O1
// stops: a handled signal in the middle of a computation
#include <signal.h>
#include <sys/time.h>

#include "guest.h"

static volatile sig_atomic_t seen;

static void handler(int number) { seen = number; }

int main(void) {
  struct itimerval soon = {{0, 0}, {0, 50000}};
  signal(SIGALRM, handler);
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  while (seen == 0) {
  }
  return passed();
}
