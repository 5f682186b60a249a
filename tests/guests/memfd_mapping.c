// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "guest.h"

int main(void) {
  int fd = memfd_create("guest", 0);
  CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
  char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(pwrite(fd, "hello", 6, 4096) == 6);
  CHECK(strcmp(map + 4096, "hello") == 0);
  map[4096] = 'j';
  char back[6];
  CHECK(pread(fd, back, 6, 4096) == 6 && strcmp(back, "jello") == 0);
  return passed();
}
