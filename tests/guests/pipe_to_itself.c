// build: -O1
#include <fcntl.h>

#include "guest.h"

int main(void) {
  int ends[2];
  char back[70000], text[70000];
  memset(text, 'x', sizeof text);
  CHECK(pipe2(ends, O_NONBLOCK) == 0);
  // More than the pipe holds: a short write, then EAGAIN.
  ssize_t wrote = write(ends[1], text, sizeof text);
  CHECK(wrote == 65536);
  CHECK(write(ends[1], text, 1) == -1 && errno == EAGAIN);
  ssize_t got = read(ends[0], back, sizeof back);
  CHECK(got == wrote && memcmp(text, back, (size_t)got) == 0);
  CHECK(read(ends[0], back, 1) == -1 && errno == EAGAIN);
  CHECK(close(ends[1]) == 0 && read(ends[0], back, 1) == 0);
  return passed();
}
