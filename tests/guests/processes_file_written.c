// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "tasks.h"

// A process maps a file that another one writes to by write, pwrite and ftruncate.
int main(void) {
  int to_parent[2], to_child[2];
  char byte = 'x';
  write_file("file", "first contents here", 19);
  CHECK(pipe(to_parent) == 0 && pipe(to_child) == 0);
  pid_t child = forked();
  if (child == 0) {
    int fd = open("file", O_RDWR);
    for (int i = 0; i < 20; i++) {
      char text[16];
      snprintf(text, sizeof text, "step %02d of it", i);
      CHECK(read(to_child[0], &byte, 1) == 1);
      CHECK(i % 2 ? pwrite(fd, text, 13, 3) == 13
                  : lseek(fd, 3, SEEK_SET) == 3 && write(fd, text, 13) == 13);
      CHECK(write(to_parent[1], &byte, 1) == 1);
    }
    CHECK(read(to_child[0], &byte, 1) == 1 && ftruncate(fd, 8192) == 0);
    CHECK(pwrite(fd, "second page", 11, 4096) == 11 && write(to_parent[1], &byte, 1) == 1);
    _exit(0);
  }
  int fd = open("file", O_RDONLY);
  const char* view = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
  int sum = 0;
  for (int i = 0; i < 20; i++) {
    char text[16];
    snprintf(text, sizeof text, "step %02d of it", i);
    CHECK(write(to_child[1], &byte, 1) == 1 && read(to_parent[0], &byte, 1) == 1);
    CHECK(memcmp(view + 3, text, 13) == 0 && view[0] == 'f');
    sum += view[9];
  }
  CHECK(write(to_child[1], &byte, 1) == 1 && read(to_parent[0], &byte, 1) == 1);
  CHECK(strcmp(view + 4096, "second page") == 0 && sum != 0 && status_of(child) == 0);
  return passed();
}
