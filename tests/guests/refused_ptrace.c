// build: -O1 -D_GNU_SOURCE
#include <sys/ptrace.h>

#include "refusals.h"

// A debugger under the recorder is told that it may not.
int main(void) {
  int recorded_now = recorded(), ends[2];
  char byte;
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    if (recorded_now) REFUSED(ptrace(PTRACE_TRACEME, 0, 0, 0), EPERM);
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 6 : 7);
  }
  close(ends[0]);
  REFUSED(ptrace(PTRACE_SEIZE, child, 0, 0), EPERM);
  close(ends[1]);
  CHECK(status_of(child) == 6);
  return passed();
}
