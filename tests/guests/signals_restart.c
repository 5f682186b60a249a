// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// SA_RESTART: reads and waits go on behind the handler, as signal(7) says.
static volatile sig_atomic_t seen;

static void handler(int number) { seen += number == SIGUSR1; }

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  int ends[2];
  char text[8] = {0};
  CHECK(pipe(ends) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
  pid_t child = forked();
  if (child == 0) {
    for (int i = 0; i < 5; i++) {
      sleep_ms(5);
      kill(getppid(), SIGUSR1);
    }
    sleep_ms(20);
    _exit(write(ends[1], "late", 4) == 4 ? 12 : 13);
  }
  CHECK(read(ends[0], text, sizeof text) == 4 && strcmp(text, "late") == 0);
  CHECK(seen >= 1);
  int status;
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 12);

  seen = 0;
  child = forked();
  if (child == 0) {
    sleep_ms(10);
    kill(getppid(), SIGUSR1);
    sleep_ms(10);
    _exit(14);
  }
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 14 && seen == 1);
  return passed();
}
