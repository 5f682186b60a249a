// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

#include "code.h"

// One process writes code into shared memory, the other one calls it there.
int main(void) {
  int fd = memfd_create("code", 0), to_child[2], to_parent[2];
  char byte;
  CHECK(fd >= 0 && ftruncate(fd, 4096) == 0 && pipe(to_child) == 0 && pipe(to_parent) == 0);
  unsigned char* writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char* code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  CHECK(writable != MAP_FAILED && code != MAP_FAILED);
  put_return(writable, 0);
  pid_t child = forked();
  if (child == 0) {
    for (int i = 1; i <= 20; i++) {
      CHECK(((Function)code)() == i - 1);
      CHECK(write(to_parent[1], "x", 1) == 1 && read(to_child[0], &byte, 1) == 1);
      CHECK(((Function)code)() == i);
    }
    _exit(0);
  }
  for (int i = 1; i <= 20; i++) {
    CHECK(read(to_parent[0], &byte, 1) == 1);
    put_return(writable, i);
    CHECK(write(to_child[1], "x", 1) == 1);
  }
  CHECK(status_of(child) == 0);
  return passed();
}
