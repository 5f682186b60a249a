// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "refusals.h"

// Protection keys: natively used where they are; recorded, none is to be had.
int main(void) {
  char* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int recorded_now = recorded(), key = pkey_alloc(0, 0);
  CHECK(memory != MAP_FAILED);
  if (recorded_now) CHECK(key == -1);
  if (key >= 0) CHECK(pkey_mprotect(memory, 4096, PROT_READ | PROT_WRITE, key) == 0);
  CHECK(pkey_mprotect(memory, 4096, PROT_READ | PROT_WRITE, -1) == 0);
  memory[0] = 1;
  if (key >= 0) CHECK(pkey_free(key) == 0);
  return passed();
}
