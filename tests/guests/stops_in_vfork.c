// build: -O1 -D_GNU_SOURCE
// stops: int 0x80
#include <signal.h>
#include <spawn.h>

#include "tasks.h"

// The recording stops in a child, while its parent may still be in the call that made it; both go
// on, and know of each other what they would.
extern char** environ;

static void call_of_32_bits(void) {
  long result = 20;  // getpid
  __asm__ volatile("int $0x80" : "+a"(result)::"r8", "r9", "r10", "r11", "memory");
  CHECK(result > 0);
}

int main(int count, char** arguments) {
  (void)arguments;
  if (count > 1) {
    call_of_32_bits();
    return 5;
  }
  char* const again[] = {"/proc/self/exe", "again", NULL};
  for (int i = 0; i < 3; i++) {
    pid_t child;
    CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, again, environ) == 0);
    const int status = status_of(child);
    if (status == 128 + SIGSEGV) return skipped();  // under some hypervisors it is a fault
    CHECK(status == 5);
    child = vfork();
    if (child == 0) {
      execv("/proc/self/exe", again);
      _exit(1);
    }
    CHECK(child > 0 && status_of(child) == 5);
  }
  return passed();
}
