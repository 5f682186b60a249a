// build: -O1
// stops: a second process, by posix_spawn
#include <spawn.h>
#include <sys/wait.h>

#include "guest.h"

extern char** environ;

int main(void) {
  char* const arguments[] = {"true", NULL};
  pid_t child;
  int status;
  CHECK(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  return passed();
}
