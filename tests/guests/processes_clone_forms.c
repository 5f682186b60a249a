// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include "tasks.h"

// What clone shares one by one: descriptors, the folder, the parent; an end that sends no signal.
static char stack[65536] __attribute__((aligned(16)));

static int close_and_move(void* argument) {
  close(*(int*)argument);
  CHECK(chdir("/") == 0);
  return 5;
}

static int end(void* argument) { return (int)(intptr_t)argument; }

int main(void) {
  char folder[4096], now[4096];
  int status, fd = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(fd >= 0 && getcwd(folder, sizeof folder) != NULL);
  pid_t child = clone(close_and_move, stack + sizeof stack, SIGCHLD, &fd);
  CHECK(child > 0 && status_of(child) == 5 && fcntl(fd, F_GETFD) >= 0);
  CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, folder) == 0);
  int flags = CLONE_FILES | CLONE_FS | SIGCHLD;
  child = clone(close_and_move, stack + sizeof stack, flags, &fd);
  CHECK(child > 0 && status_of(child) == 5 && fcntl(fd, F_GETFD) == -1);
  CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, "/") == 0);
  child = clone(end, stack + sizeof stack, 0, (void*)6);
  CHECK(child > 0 && waitpid(child, &status, 0) == -1 && errno == ECHILD);
  CHECK(waitpid(child, &status, __WALL) == child && WEXITSTATUS(status) == 6);
  CHECK(unshare(CLONE_FILES | CLONE_FS) == 0 && chdir(folder) == 0);

  // A child of the same parent: this one's parent waits for it.
  int ends[2];
  CHECK(pipe(ends) == 0);
  child = forked();
  if (child == 0) {
    pid_t sibling = clone(end, stack + sizeof stack, CLONE_PARENT | SIGCHLD, (void*)8);
    CHECK(waitpid(sibling, NULL, 0) == -1 && write(ends[1], &sibling, sizeof sibling) > 0);
    _exit(7);
  }
  pid_t other;
  CHECK(read(ends[0], &other, sizeof other) == sizeof other);
  CHECK(status_of(child) == 7 && status_of(other) == 8);
  return passed();
}
