// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

// Three hundred children one after the other, from a memory of some size: nothing piles up.
int main(void) {
  enum { kSize = 4 << 20 };
  char* memory = malloc(kSize);
  memset(memory, 1, kSize);
  for (int i = 0; i < 300; i++) {
    pid_t child = forked();
    if (child == 0) {
      memory[i * 4096 % kSize] = 2;
      _exit(memory[i * 4096 % kSize] + memory[(i + 1) * 4096 % kSize]);
    }
    CHECK(status_of(child) == 3);
  }
  return passed();
}
