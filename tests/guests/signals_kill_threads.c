// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Children with threads in every state, killed from outside at moments of no pattern.
static int ends[2];

static void* be(void* argument) {
  char byte;
  uint32_t word = 0;
  switch ((intptr_t)argument) {
    case 0:
      (void)!read(ends[0], &byte, 1);
      break;
    case 1:
      syscall(SYS_futex, &word, 128, 0, NULL, NULL, 0);
      break;
    case 2:
      for (;;) computed(1000);
    default:
      for (;;) (void)getppid();
  }
  return NULL;
}

int main(void) {
  const int numbers[] = {SIGKILL, SIGTERM, SIGSEGV};
  unsigned seed = 99;
  CHECK(pipe(ends) == 0);
  for (int i = 0; i < 12; i++) {
    pid_t child = forked();
    if (child == 0) {
      for (intptr_t k = 0; k < 4; k++) started(be, (void*)k);
      if (i % 2 == 0) pthread_exit(NULL);
      for (;;) pause();
    }
    usleep((useconds_t)(rand_r(&seed) % 5000));
    CHECK(kill(child, numbers[i % 3]) == 0 && status_of(child) == 128 + numbers[i % 3]);
  }
  return passed();
}
