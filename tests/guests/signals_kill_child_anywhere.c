// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Children that end by an unhandled signal wherever it hits them.
static void child_main(int kind) {
  volatile uint64_t turns = 0;
  for (;;) {
    if (kind == 1) usleep(100);
    if (kind == 2) (void)getppid();
    turns = turns + 1;
  }
}

int main(void) {
  const int numbers[] = {SIGTERM, SIGKILL, SIGINT, SIGHUP, SIGALRM};
  // A shell ignores SIGINT for what runs in its background, nohup SIGHUP.
  for (int i = 0; i < 5; i++) signal(numbers[i], SIG_DFL);
  for (int i = 0; i < 15; i++) {
    pid_t child = forked();
    if (child == 0) child_main(i % 3);
    usleep((useconds_t)(i * 731 % 4000));
    int number = numbers[i % 5];
    CHECK(kill(child, number) == 0 && status_of(child) == 128 + number);
  }
  return passed();
}
