// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>

#include "tasks.h"

// Processes that read the clock without stops: forks of one that does, programs that they become,
// and such as are stopped and killed while they do.
extern char** environ;

static void read_often(int count) {
  int64_t last = 0;
  for (int i = 0; i < count; i++) {
    const int64_t now = now_ns();
    CHECK(now >= last);
    last = now;
  }
}

static int run_itself(void) {
  char* const arguments[] = {"/proc/self/exe", "again", NULL};
  pid_t child;
  CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
  return status_of(child);
}

int main(int count, char** arguments) {
  (void)arguments;
  if (count > 1) {
    read_often(3000);
    return 7;
  }
  read_often(2000);
  CHECK(run_itself() == 7);
  for (int i = 0; i < 4; i++) {
    pid_t child = forked();
    if (child == 0) {
      read_often(500);
      pid_t grandchild = forked();
      if (grandchild == 0) {
        read_often(200);
        execl("/proc/self/exe", "clock", "again", (char*)NULL);
        _exit(1);
      }
      CHECK(status_of(grandchild) == 7);
      _exit(i);
    }
    read_often(300);
    CHECK(status_of(child) == i);
  }
  // Stopped and killed wherever they are.
  volatile int* turns = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(turns != MAP_FAILED);
  for (int i = 0; i < 8; i++) {
    const int before = *turns;
    pid_t child = forked();
    if (child == 0) {
      for (;;) read_often(10), ++*turns;
    }
    while (*turns < before + 50) sleep_ms(1);
    for (int j = 0; j < 3; j++) {
      int status;
      CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
      CHECK(WIFSTOPPED(status));
      read_often(20);
      const int now = *turns;
      CHECK(kill(child, SIGCONT) == 0);
      while (*turns == now) sleep_ms(1);
    }
    const int number = i % 2 == 0 ? SIGKILL : SIGTERM;
    CHECK(kill(child, number) == 0 && status_of(child) == 128 + number);
  }
  return passed();
}
