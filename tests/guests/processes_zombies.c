// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Ended children stay until they are waited for, unless SIGCHLD is ignored.
static char state_of(pid_t pid) {
  char path[64], text[256] = {0};
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE* file = fopen(path, "r");
  if (file == NULL) return '-';
  CHECK(fread(text, 1, sizeof text - 1, file) > 10);
  fclose(file);
  return strrchr(text, ')')[2];
}

int main(void) {
  pid_t children[5];
  for (int i = 0; i < 5; i++)
    if ((children[i] = forked()) == 0) _exit(i);
  for (int i = 0; i < 5; i++) {
    while (state_of(children[i]) != 'Z') sleep_ms(1);
    CHECK(kill(children[i], 0) == 0);
  }
  for (int i = 4; i >= 0; i--) CHECK(status_of(children[i]) == i);
  CHECK(kill(children[0], 0) == -1 && errno == ESRCH && state_of(children[0]) == '-');
  CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
  for (int i = 0; i < 5; i++)
    if (forked() == 0) _exit(i);
  CHECK(wait(NULL) == -1 && errno == ECHILD);

  // One that is left behind as a zombie when the parent ends.
  CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
  if ((children[0] = forked()) == 0) _exit(1);
  while (state_of(children[0]) != 'Z') sleep_ms(1);
  return passed();
}
