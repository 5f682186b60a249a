// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// SIGSTOP stops every thread of a process, also those that compute; SIGCONT lets all go on.
struct Shared {
  volatile uint64_t turns[3];
  volatile int stop;
};
static struct Shared* shared;

static void* compute(void* argument) {
  volatile uint64_t* own = &shared->turns[(intptr_t)argument];
  while (shared->stop == 0) *own = *own + 1;
  return NULL;
}

static void wait_for_progress(void) {
  uint64_t before[3];
  memcpy(before, (const void*)shared->turns, sizeof before);
  for (int i = 0; i < 3; i++)
    while (shared->turns[i] == before[i]) sleep_ms(1);
}

int main(void) {
  int status;
  int flags = MAP_SHARED | MAP_ANONYMOUS;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, flags, -1, 0);
  CHECK(shared != MAP_FAILED);
  pid_t child = forked();
  if (child == 0) {
    pthread_t threads[2] = {started(compute, (void*)1), started(compute, (void*)2)};
    compute(NULL);
    joined(threads[0]);
    joined(threads[1]);
    _exit(9);
  }
  for (int round = 0; round < 3; round++) {
    wait_for_progress();
    CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
    CHECK(WIFSTOPPED(status));
    uint64_t before = shared->turns[0] + shared->turns[1] + shared->turns[2];
    sleep_ms(10);
    CHECK(shared->turns[0] + shared->turns[1] + shared->turns[2] == before);
    CHECK(kill(child, SIGCONT) == 0 && waitpid(child, &status, WCONTINUED) == child);
    CHECK(WIFCONTINUED(status));
  }
  wait_for_progress();
  shared->stop = 1;
  CHECK(status_of(child) == 9);
  return passed();
}
