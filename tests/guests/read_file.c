// build: -O1
#include <fcntl.h>

#include "guest.h"

// A file that it made itself, in odd pieces, with seeks and pread in between.
int main(void) {
  char text[5000], back[5000];
  for (size_t i = 0; i < sizeof text; ++i) text[i] = (char)(i * 7 + i / 251);
  write_file("data", text, sizeof text);
  int fd = open("data", O_RDONLY);
  CHECK(fd >= 0);
  size_t got = 0;
  for (size_t piece = 1; got < sizeof text; piece = piece * 3 + 1) {
    ssize_t count = read(fd, back + got, piece < sizeof text - got ? piece : sizeof text - got);
    CHECK(count > 0);
    got += (size_t)count;
  }
  CHECK(memcmp(text, back, sizeof text) == 0);
  CHECK(read(fd, back, 1) == 0);
  CHECK(lseek(fd, 100, SEEK_SET) == 100);
  CHECK(read(fd, back, 10) == 10 && memcmp(text + 100, back, 10) == 0);
  CHECK(pread(fd, back, 20, 4990) == 10 && memcmp(text + 4990, back, 10) == 0);
  CHECK(read(fd, (void*)8, 10) == -1 && errno == EFAULT);
  CHECK(close(fd) == 0 && close(fd) == -1 && errno == EBADF);
  return passed();
}
