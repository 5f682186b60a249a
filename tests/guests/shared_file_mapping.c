// build: -O1
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

// Writes through one view show in the other, in read(), and the other way round.
int main(void) {
  int fd = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(ftruncate(fd, 4 * kPage) == 0);
  char* one = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* two = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, kPage);
  CHECK(one != MAP_FAILED && two != MAP_FAILED);
  strcpy(one + kPage, "written");
  CHECK(strcmp(two, "written") == 0);
  two[kPage] = 'z';
  CHECK(one[2 * kPage] == 'z');
  char back[8];
  CHECK(pread(fd, back, 8, kPage) == 8 && strcmp(back, "written") == 0);
  CHECK(pwrite(fd, "changed", 8, kPage) == 8);
  CHECK(strcmp(one + kPage, "changed") == 0 && strcmp(two, "changed") == 0);
  CHECK(msync(one, 4 * kPage, MS_SYNC) == 0);
  return passed();
}
