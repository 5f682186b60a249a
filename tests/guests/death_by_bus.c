// build: -O1
// status: SIGBUS
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

// A page of a mapping behind the end of its file.
int main(void) {
  write_file("short", "x", 1);
  int fd = open("short", O_RDONLY);
  volatile char* map = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(map[0] == 'x' && map[1] == 0);
  passed();
  fflush(stdout);
  return map[4096];
}
