// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// Memory that the kernel takes away when it likes, and does not give to children: older kernels do
// not have it.
enum { kDroppable = 8 };

int main(void) {
  char* memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, kDroppable | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    CHECK(errno == EINVAL);
    return passed();
  }
  memory[0] = 1;
  const pid_t child = forked();
  if (child == 0) _exit(memory[0]);
  CHECK(status_of(child) == 0);
  return passed();
}
