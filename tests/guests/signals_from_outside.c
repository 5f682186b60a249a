// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Handled signals at moments of no pattern, into computation, calls and sleep alike.
static volatile sig_atomic_t seen;

static void handler(int number) { seen += number == SIGUSR1; }

static int child_main(int out) {
  char text[100];
  uint64_t expected = computed(3000);
  CHECK(write(out, "r", 1) == 1);
  for (int i = 0; seen < 40; i++) {
    CHECK(computed(3000) == expected);
    if (i % 16 == 0) CHECK(snprintf(text, sizeof text, "%d %d", i, getppid()) > 3);
    if (i % 64 == 0) usleep(300);
  }
  return 23;
}

int main(void) {
  int ends[2], status = 0;
  char byte;
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  CHECK(pipe(ends) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
  pid_t child = forked();
  if (child == 0) _exit(child_main(ends[1]));
  CHECK(read(ends[0], &byte, 1) == 1);
  unsigned seed = 12345;
  while (waitpid(child, &status, WNOHANG) == 0) {
    kill(child, SIGUSR1);
    usleep(rand_r(&seed) % 3000);
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 23);
  return passed();
}
