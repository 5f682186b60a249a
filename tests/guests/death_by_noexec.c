// build: -O1
// status: SIGSEGV
#include <sys/mman.h>

#include "guest.h"

// A page that holds code and may not be executed.
int main(void) {
  unsigned char* page =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  page[0] = 0xc3;
  passed();
  fflush(stdout);
  ((void (*)(void))page)();
  return 1;
}
