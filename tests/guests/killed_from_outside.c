// build: -O2
// kill: SIGTERM
// status: SIGTERM
#include "guest.h"

static unsigned table[1 << 14];

int main(void) {
  passed();
  fflush(stdout);
  char pid[32];
  int length = sprintf(pid, "%d", getpid());
  write_file("ready", pid, (size_t)length);
  for (unsigned i = 1;; i = i * 1664525 + 1013904223) table[i >> 18] += i;
}
