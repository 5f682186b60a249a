// build: -O1 -D_GNU_SOURCE
#include <sys/stat.h>

#include "tasks.h"

// The kernel finds the interpreter in the file's first line (execve(2), "Interpreter scripts").
extern char** environ;

int main(void) {
  const char text[] = "#!/bin/sh -e\necho \"$0 $# $1\"\nexec 3>&-\nexit 9\n";
  const char indirect[] = "#!./script with this\n";
  write_file("script", text, sizeof text - 1);
  write_file("indirect", indirect, sizeof indirect - 1);
  write_file("nothing", "exit 1\n", 7);
  CHECK(chmod("script", 0700) == 0 && chmod("indirect", 0700) == 0 && chmod("nothing", 0700) == 0);
  const char* names[] = {"./script", "./indirect"};
  for (int i = 0; i < 2; i++) {
    char* const arguments[] = {"ignored", "one", "two", NULL};
    pid_t child = forked();
    if (child == 0) {
      execve(names[i], arguments, environ);
      _exit(1);
    }
    CHECK(status_of(child) == 9);
  }
  char* const arguments[] = {"nothing", NULL};
  CHECK(execve("nothing", arguments, environ) == -1 && errno == ENOEXEC);
  return passed();
}
