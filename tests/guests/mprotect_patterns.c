// build: -O1
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

// Protection decides what the kernel may copy where, too.
int main(void) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  char* area = mmap(NULL, 8 * kPage, PROT_NONE, flags, -1, 0);
  int zero = open("/dev/zero", O_RDONLY);
  CHECK(read(zero, area, 10) == -1 && errno == EFAULT);
  CHECK(mprotect(area + 2 * kPage, 3 * kPage, PROT_READ | PROT_WRITE) == 0);
  memset(area + 2 * kPage, 9, 3 * kPage);
  CHECK(mprotect(area + 3 * kPage, kPage, PROT_READ) == 0);
  CHECK(area[3 * kPage] == 9);
  // A read that runs into the read-only page stops short.
  CHECK(read(zero, area + 3 * kPage - 100, 300) == 100);
  CHECK(mprotect(area, 8 * kPage, PROT_READ | PROT_WRITE) == 0);
  CHECK(area[3 * kPage] == 9 && area[2 * kPage] == 9 && area[0] == 0);
  CHECK(mprotect((void*)0x1000, kPage, PROT_READ) == -1 && errno == ENOMEM);
  return passed();
}
