// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include "tasks.h"

extern char** environ;

int main(void) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t set;
  pid_t child;
  char* const arguments[] = {"sh", "-c", "echo $WORD; cat; exit 7", NULL};
  char* const environment[] = {"WORD=spawned", "PATH=/usr/bin:/bin", NULL};
  write_file("input", "from the file\n", 14);
  CHECK(posix_spawn_file_actions_init(&actions) == 0 && posix_spawnattr_init(&attributes) == 0);
  CHECK(posix_spawn_file_actions_addopen(&actions, 0, "input", O_RDONLY, 0) == 0);
  CHECK(posix_spawn_file_actions_addopen(&actions, 1, "output", O_WRONLY | O_CREAT, 0600) == 0);
  sigemptyset(&set);
  CHECK(posix_spawnattr_setsigmask(&attributes, &set) == 0);
  CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP) == 0);
  CHECK(posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environment) == 0);
  CHECK(status_of(child) == 7);
  char text[100] = {0};
  int fd = open("output", O_RDONLY);
  CHECK(read(fd, text, sizeof text) == 22 && strcmp(text, "spawned\nfrom the file\n") == 0);
  CHECK(posix_spawn(&child, "/does/not/exist", NULL, NULL, arguments, environ) == ENOENT);
  char* const truth[] = {"true", NULL};
  CHECK(posix_spawnp(&child, "true", NULL, NULL, truth, environ) == 0 && status_of(child) == 0);
  return passed();
}
