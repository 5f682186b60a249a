// build: -O1
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

int main(void) {
  char text[3 * kPage - 100];
  for (size_t i = 0; i < sizeof text; ++i) text[i] = (char)(i / 16);
  write_file("mapped", text, sizeof text);
  int fd = open("mapped", O_RDONLY);
  char* map = mmap(NULL, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  char* second = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, fd, kPage);
  CHECK(close(fd) == 0);
  CHECK(memcmp(map, text, sizeof text) == 0);
  CHECK(map[3 * kPage - 1] == 0);
  CHECK(memcmp(second, text + kPage, kPage) == 0);
  map[kPage] ^= 1;
  CHECK(second[0] == text[kPage]);
  CHECK(unlink("mapped") == 0);
  CHECK(map[0] == text[0] && map[kPage] != text[kPage]);
  return passed();
}
