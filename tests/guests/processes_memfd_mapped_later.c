// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "tasks.h"

// A memfd that is written to by a call, and then changes through memory, is mapped by one child
// after the other, which may only read it, and each sees it as it is by then.
enum { kChildren = 3, kBytes = 16384 };

static int file, to_child[2], to_parent[2];

static void child(int number) {
  char byte;
  CHECK(read(to_child[0], &byte, 1) == 1);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  int again = open(path, O_RDONLY);
  const volatile int* memory = mmap(NULL, kBytes, PROT_READ, MAP_SHARED, again, 0);
  CHECK(again >= 0 && memory != MAP_FAILED && memory[0] == 100 + number);
  CHECK(write(to_parent[1], "x", 1) == 1);
  CHECK(read(to_child[0], &byte, 1) == 1);
  CHECK(memory[0] == 200 + number && memory[2000] == number);
  CHECK(write(to_parent[1], "x", 1) == 1);
  _exit(0);
}

int main(void) {
  char byte;
  file = memfd_create("changes", 0);
  CHECK(file >= 0 && ftruncate(file, kBytes) == 0 && pipe(to_child) == 0 && pipe(to_parent) == 0);
  volatile int* memory = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(memory != MAP_FAILED);
  memory[0] = 1;
  sleep_ms(20);
  CHECK(pwrite(file, "text", 4, 12000) == 4);  // and has another time from now on
  for (int i = 0; i < kChildren; i++) {
    pid_t pid = forked();
    if (pid == 0) child(i);
    memory[0] = 100 + i;
    CHECK(write(to_child[1], "x", 1) == 1 && read(to_parent[0], &byte, 1) == 1);
    memory[0] = 200 + i;
    memory[2000] = i;
    CHECK(write(to_child[1], "x", 1) == 1 && read(to_parent[0], &byte, 1) == 1);
    CHECK(status_of(pid) == 0 && memory[0] == 200 + i);
  }
  CHECK(memory[0] == 200 + kChildren - 1);
  return passed();
}
