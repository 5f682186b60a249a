// build: -O1 -D_GNU_SOURCE
#include "code.h"

// The same memory writable at one address and executable at another.
int main(void) {
  int fd = memfd_create("code", 0);
  CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
  unsigned char* writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char* executable = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  CHECK(writable != MAP_FAILED && executable != MAP_FAILED);
  for (int round = 0; round < 100; ++round) {
    put_return(writable, round);
    CHECK(((Function)executable)() == round);
  }
  return passed();
}
