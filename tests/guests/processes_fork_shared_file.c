// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "tasks.h"

// A file that two processes map: by the parent before the fork, by the child itself after it, and
// written with pwrite as well.
int main(void) {
  int fd = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
  volatile int* mine = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(mine != MAP_FAILED);
  int to_child[2], to_parent[2];
  char byte;
  CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
  pid_t child = forked();
  if (child == 0) {
    int again = open("shared", O_RDWR);
    volatile int* other = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
    CHECK(other != MAP_FAILED && other != mine);
    for (int i = 0; i < 50; i++) {
      CHECK(read(to_child[0], &byte, 1) == 1 && other[i] == i * 3 && mine[i] == i * 3);
      other[1024 + i] = i * 5;
      CHECK(write(to_parent[1], "c", 1) == 1);
    }
    _exit(0);
  }
  for (int i = 0; i < 50; i++) {
    int value = i * 3;
    if (i % 2 == 0)
      mine[i] = value;
    else
      CHECK(pwrite(fd, &value, 4, i * 4) == 4);
    CHECK(write(to_child[1], "p", 1) == 1 && read(to_parent[0], &byte, 1) == 1);
    CHECK(mine[1024 + i] == i * 5);
  }
  CHECK(status_of(child) == 0);
  return passed();
}
