// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tasks.h"

// Children that unmap all that they have, vDSO and all: the next instruction faults, and there is
// no stack for a handler.
static void handler(int signal) { (void)signal, _exit(3); }

int main(void) {
  CHECK(signal(SIGSEGV, handler) != SIG_ERR);
  for (int round = 0; round < 6; round++) {
    pid_t child = forked();
    if (child == 0) {
      if (round % 3 == 1) signal(SIGSEGV, SIG_DFL);
      if (round % 3 == 2) signal(SIGSEGV, SIG_IGN);
      const uintptr_t top = 0x7ffffffff000, here = (uintptr_t)main & ~4095ul;
      if (round >= 3)
        munmap((void*)4096, here - 4096), munmap((void*)(here + 4096), top - here - 4096);
      munmap((void*)4096, top - 4096);
      _exit(4);
    }
    int status;
    while (waitpid(child, &status, 0) != child) CHECK(errno == EINTR);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  }
  return passed();
}
