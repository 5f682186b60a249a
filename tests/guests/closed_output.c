// build: -O1
#include <fcntl.h>

#include "guest.h"

// Descriptor 1 becomes a file: what is written there is no output any more.
int main(void) {
  CHECK(write(1, "passed\n", 7) == 7);
  CHECK(close(1) == 0);
  CHECK(open("not_output", O_WRONLY | O_CREAT | O_TRUNC, 0600) == 1);
  CHECK(write(1, "hidden\n", 7) == 7);
  return 0;
}
