// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

// Three programs in a row, as a shell connects them, and a reader that ends too early.
extern char** environ;

static pid_t run(int in, int out, int unused, const char* const* arguments) {
  pid_t child = forked();
  if (child == 0) {
    if (in >= 0) dup2(in, 0);
    if (out >= 0) dup2(out, 1);
    if (unused >= 0) close(unused);
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    execvpe(arguments[0], (char* const*)arguments, environ);
    _exit(99);
  }
  return child;
}

int main(void) {
  const char* seq[] = {"seq", "1", "20000", NULL};
  const char* grep[] = {"grep", "7", NULL};
  const char* wc[] = {"wc", "-l", NULL};
  const char* yes[] = {"yes", NULL};
  const char* head[] = {"head", "-n", "3", NULL};
  int first[2], second[2];
  CHECK(pipe(first) == 0);
  pid_t one = run(-1, first[1], first[0], seq);
  close(first[1]);
  CHECK(pipe(second) == 0);
  pid_t two = run(first[0], second[1], second[0], grep);
  close(first[0]);
  close(second[1]);
  pid_t three = run(second[0], -1, -1, wc);
  close(second[0]);
  CHECK(status_of(one) == 0 && status_of(two) == 0 && status_of(three) == 0);
  CHECK(pipe(first) == 0);
  one = run(-1, first[1], first[0], yes);
  close(first[1]);
  two = run(first[0], -1, -1, head);
  close(first[0]);
  CHECK(status_of(one) == 128 + 13 && status_of(two) == 0);  // SIGPIPE
  return passed();
}
