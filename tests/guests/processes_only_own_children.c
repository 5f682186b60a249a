// build: -O1 -pthread -D_GNU_SOURCE
#include <errno.h>
#include <signal.h>

#include "tasks.h"

// Whatever a recorder makes of a process whose threads compute, its parent has the children that it
// has made and hears of no others.
static volatile sig_atomic_t heard;
static char memory[2][512 * 4096];

static void hear(int number) {
  (void)number;
  heard++;
}

static void* compute(void* which) {
  char* own = memory[(intptr_t)which];
  uint64_t sum = 0;
  for (int round = 0; round < 40; round++) {
    for (int page = 0; page < 512; page++) own[page * 4096 + round] = (char)(sum += page);
    sum += computed(200000);
  }
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
  pid_t child = forked();
  if (child == 0) {
    pthread_t thread = started(compute, (void*)1);
    compute((void*)0);
    joined(thread);
    errno = 0;
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    _exit(7);
  }
  int status = 0;
  CHECK(wait(&status) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
  errno = 0;
  CHECK(wait(NULL) == -1 && errno == ECHILD);
  CHECK(heard == 1);
  return passed();
}
