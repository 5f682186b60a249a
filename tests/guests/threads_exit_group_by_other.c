// build: -O1 -pthread -D_GNU_SOURCE
// status: 21
#include "tasks.h"

// Not the first thread ends the process, while the first one waits for it.
static void* leave(void* argument) {
  (void)argument;
  computed(100000);
  passed();
  exit(21);
}

int main(void) {
  joined(started(leave, NULL));
  return 1;
}
