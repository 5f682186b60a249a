// build: -O1
// status: 6
// stops: a second process
#include <sys/wait.h>

#include "guest.h"

int main(void) {
  puts("before");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(6);
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
  passed();
  return WEXITSTATUS(status);
}
