// build: -O1
#include <signal.h>

#include "guest.h"

static void handler(int number) { (void)number; }

// A handler that is only installed is no reason to stop.
int main(void) {
  struct sigaction action = {.sa_handler = handler}, back;
  CHECK(sigaction(SIGTERM, &action, NULL) == 0);
  CHECK(sigaction(SIGTERM, NULL, &back) == 0 && back.sa_handler == handler);
  return passed();
}
