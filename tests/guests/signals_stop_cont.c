// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static volatile sig_atomic_t continued;

static int out, go_on;

// A stop signal discards a SIGCONT that is pending: the parent waits until it was handled.
static void handler(int number) {
  continued += number == SIGCONT;
  CHECK(write(out, "c", 1) == 1);
}

static int child_main(void) {
  signal(SIGCONT, handler);
  CHECK(setpgid(0, 0) == 0);  // no orphaned group: SIGTSTP would not stop it
  CHECK(write(out, "r", 1) == 1);
  uint64_t expected = computed(2000);
  while (continued < 3) CHECK(computed(2000) == expected);
  // The next stop would take away the status "continued" that the parent still waits for.
  char byte;
  CHECK(read(go_on, &byte, 1) == 1);
  raise(SIGSTOP);
  return 17;
}

int main(void) {
  int ends[2], back[2], status;
  char byte;
  CHECK(pipe(ends) == 0 && pipe(back) == 0);
  out = ends[1];
  go_on = back[0];
  pid_t child = forked();
  if (child == 0) _exit(child_main());
  CHECK(read(ends[0], &byte, 1) == 1);
  for (int i = 0; i < 3; i++) {
    CHECK(kill(child, i == 1 ? SIGTSTP : SIGSTOP) == 0);
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    CHECK(WSTOPSIG(status) == (i == 1 ? SIGTSTP : SIGSTOP));
    CHECK(waitpid(child, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(child, SIGCONT) == 0);
    CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'c');
  }
  CHECK(write(back[1], "g", 1) == 1);
  CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
  CHECK(kill(child, SIGCONT) == 0 && status_of(child) == 17);
  return passed();
}
