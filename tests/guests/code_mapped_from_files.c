// build: -O1
#include <fcntl.h>

#include "code.h"

// Two files' pages in turn at one address.
int main(void) {
  unsigned char bytes[6];
  int fds[2];
  for (int i = 0; i < 2; ++i) {
    put_return(bytes, 10 + i);
    write_file(i == 0 ? "code0" : "code1", bytes, sizeof bytes);
    fds[i] = open(i == 0 ? "code0" : "code1", O_RDONLY);
  }
  unsigned char* place = code_pages(1, PROT_NONE);
  for (int round = 0; round < 100; ++round) {
    unsigned char* page =
        mmap(place, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fds[round % 2], 0);
    CHECK(page == place && ((Function)page)() == 10 + round % 2);
  }
  return passed();
}
