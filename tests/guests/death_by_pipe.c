// build: -O1
// status: SIGPIPE
#include <signal.h>

#include "guest.h"

int main(void) {
  passed();
  fflush(stdout);
  int e[2];
  CHECK(pipe(e) == 0);
  close(e[0]);
  return (int)write(e[1], e, 1);
}
