// build: -O1
// status: SIGABRT
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  abort();
}
