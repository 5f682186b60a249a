// build: -O1 -pthread
// args: 3
// kill: SIGTERM
// status: SIGTERM
#include <pthread.h>
#include <time.h>

#include "guest.h"

// So many threads that compute and look at the clock until somebody ends them.
static volatile uint64_t rounds;

static void* spin(void* argument) {
  struct timespec now;
  uint64_t value = 1;
  for (;;) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    ++rounds;
    if (argument == NULL) continue;
    for (long i = 0; i < (now.tv_nsec & 63); i++) value = value * 7 + (uint64_t)i;
    if (value == 0) return NULL;
  }
}

int main(int argc, char** argv) {
  static char computes;
  const int threads = argc > 1 ? atoi(argv[1]) : 1;
  for (int i = 1; i < threads; i++) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, spin, i % 2 != 0 ? &computes : NULL) == 0);
  }
  passed();
  fflush(stdout);
  char pid[32];
  const int length = sprintf(pid, "%d", getpid());
  write_file("ready", pid, (size_t)length);
  spin(NULL);
}
