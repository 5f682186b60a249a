// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// Of a process with threads a fork copies only the one that calls it; handlers run around it.
static atomic_int stop, before, after_parent, after_child;

static void prepare(void) { before++; }
static void in_parent(void) { after_parent++; }
static void in_child(void) { after_child++; }

static void* compute(void* argument) {
  while (stop == 0) computed(1000);
  return argument;
}

static void* fork_here(void* argument) {
  pid_t child = forked();
  if (child == 0) {
    int threads = 0;
    char line[256];
    FILE* file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file) != NULL) (void)sscanf(line, "Threads: %d", &threads);
    CHECK(threads == 1 && own_tid() == getpid() && after_child == 1 && after_parent == 0);
    pthread_t thread = started(compute, NULL);
    stop = 1;
    joined(thread);
    _exit(26);
  }
  CHECK(status_of(child) == 26 && before == 1 && after_parent == 1 && after_child == 0);
  return argument;
}

int main(void) {
  CHECK(pthread_atfork(prepare, in_parent, in_child) == 0);
  pthread_t computing = started(compute, NULL);
  joined(started(fork_here, NULL));
  stop = 1;
  joined(computing);
  return passed();
}
