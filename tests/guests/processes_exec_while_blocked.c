// build: -O1 -pthread -D_GNU_SOURCE
// args: first
// status: 16
#include <sys/epoll.h>

#include "tasks.h"

// execve with other threads in blocking calls, which never return; what they waited for is still
// there for the new program.
static int ends[2];
static atomic_int waiting;

static void* wait_in(void* argument) {
  uint32_t word = 0;
  struct epoll_event event;
  char byte;
  waiting++;
  switch ((intptr_t)argument) {
    case 0:
      (void)!read(ends[0], &byte, 1);
      break;
    case 1:
      syscall(SYS_futex, &word, 128, 0, NULL, NULL, 0);
      break;
    case 2:
      epoll_wait(epoll_create1(0), &event, 1, -1);
      break;
    default:
      pause();
  }
  CHECK(argument == &ends);
  return NULL;
}

int main(int argc, char** argv) {
  CHECK(argc == 2);
  if (strcmp(argv[1], "second") == 0) {
    char byte;
    int threads = 0;
    char line[256];
    FILE* file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file) != NULL) (void)sscanf(line, "Threads: %d", &threads);
    CHECK(threads == 1 && write(61, "x", 1) == 1 && read(60, &byte, 1) == 1 && byte == 'x');
    passed();
    return 16;
  }
  CHECK(pipe(ends) == 0 && dup2(ends[0], 60) == 60 && dup2(ends[1], 61) == 61);
  for (intptr_t i = 0; i < 4; i++) started(wait_in, (void*)i);
  while (waiting < 4) sleep_ms(1);
  sleep_ms(3);
  char* const arguments[] = {argv[0], "second", NULL};
  execv("/proc/self/exe", arguments);
  return 1;
}
