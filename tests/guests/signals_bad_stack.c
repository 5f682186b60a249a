// build: -O1 -D_GNU_SOURCE
// status: SIGSEGV
#include <signal.h>

#include "tasks.h"

// No room for the handler's frame: the kernel ends the program by SIGSEGV.
static void handler(int number) { (void)number; }

int main(void) {
  passed();
  fflush(stdout);
  signal(SIGUSR1, handler);
  pid_t self = getpid();
  __asm__ volatile("mov $0x1000, %%rsp\n syscall\n ud2" ::"a"(SYS_kill), "D"(self), "S"(SIGUSR1));
  return 1;
}
