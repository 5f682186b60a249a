// build: -O1
#include <fcntl.h>

#include "guest.h"

enum { kSize = 12 << 20 };

// One read and one write far larger than any buffer of a recorder's.
int main(void) {
  char* text = malloc(kSize);
  char* back = malloc(kSize);
  CHECK(text && back);
  for (size_t i = 0; i < kSize; ++i) text[i] = (char)(i ^ (i >> 11));
  int fd = open("large", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(fd, text, kSize) == kSize);
  CHECK(pread(fd, back, kSize, 0) == kSize);
  CHECK(memcmp(text, back, kSize) == 0);
  CHECK(ftruncate(fd, 10) == 0 && pread(fd, back, kSize, 0) == 10);
  CHECK(unlink("large") == 0);
  return passed();
}
