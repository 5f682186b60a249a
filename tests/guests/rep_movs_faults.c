// build: -O1
// status: SIGSEGV
#include <sys/mman.h>

#include "guest.h"

// Dies in the middle of one instruction, with what it copied so far in place.
int main(void) {
  char* area = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* from = malloc(16384);
  CHECK(mprotect(area + 8192, 4096, PROT_READ) == 0);
  memset(from, 6, 16384);
  passed();
  fflush(stdout);
  void* to = area + 100;
  size_t count = 16000;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  return 1;
}
