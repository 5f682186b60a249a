// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

// The child of vfork stores into its parent's memory until it executes or ends (vfork(2)).
extern char** environ;

int main(int argc, char** argv) {
  if (argc > 1) return atoi(argv[1]);
  volatile int stored = 0;
  puts("before");
  fflush(stdout);
  pid_t child = vfork();
  if (child == 0) {
    stored = 5;
    _exit(3);
  }
  CHECK(child > 0 && stored == 5 && status_of(child) == 3);
  for (int i = 1; i <= 5; i++) {
    char number[8];
    snprintf(number, sizeof number, "%d", i);
    char* const arguments[] = {argv[0], number, NULL};
    child = vfork();
    if (child == 0) {
      stored = i * 10;
      execve("/proc/self/exe", arguments, environ);
      _exit(99);
    }
    CHECK(child > 0 && stored == i * 10 && status_of(child) == i);
  }
  child = vfork();
  if (child == 0) {
    char* const arguments[] = {"nothing", NULL};
    execve("/does/not/exist", arguments, environ);
    _exit(errno == ENOENT ? 44 : 45);
  }
  CHECK(status_of(child) == 44);
  return passed();
}
