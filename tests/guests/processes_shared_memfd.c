// build: -O1 -D_GNU_SOURCE
// args: first
#include <sys/mman.h>

#include "tasks.h"

// A memfd that outlives execve by its descriptor and is mapped by both programs.
int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "second") == 0) {
    volatile int* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 50, 0);
    CHECK(memory != MAP_FAILED);
    for (int i = 0; i < 10; i++) {
      while (memory[0] != 2 * i + 1) sleep_ms(1);
      memory[1] += i;
      memory[0] = 2 * i + 2;
    }
    return 13;
  }
  int fd = memfd_create("shared", 0);
  CHECK(fd >= 0 && ftruncate(fd, 4096) == 0 && dup2(fd, 50) == 50);
  volatile int* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED);
  pid_t child = forked();
  if (child == 0) {
    char* const arguments[] = {argv[0], "second", NULL};
    execv("/proc/self/exe", arguments);
    _exit(99);
  }
  for (int i = 0; i < 10; i++) {
    memory[0] = 2 * i + 1;
    while (memory[0] != 2 * i + 2) sleep_ms(1);
  }
  CHECK(status_of(child) == 13 && memory[1] == 45);
  return passed();
}
