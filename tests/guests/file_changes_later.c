// build: -O1
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

// Reads and maps a file, then changes and removes it: a replay must not look at what is there.
int main(void) {
  char text[kPage];
  memset(text, 'a', kPage);
  write_file("changing", text, kPage);
  int fd = open("changing", O_RDWR);
  char* early = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(early[5] == 'a');
  early[0] = 'p';  // this page is now the guest's own
  CHECK(pwrite(fd, "bbbb", 4, 0) == 4);
  CHECK(early[0] == 'p' && early[1] == 'a');
  char* late = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(late[0] == 'b' && late[5] == 'a');
  CHECK(unlink("changing") == 0);
  return passed();
}
