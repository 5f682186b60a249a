// build: -O1
#include <fcntl.h>

#include "code.h"

// The kernel writes the code, not the guest: read() into a page that has been executed.
int main(void) {
  unsigned char bytes[600];
  for (int i = 0; i < 100; ++i) put_return(bytes + 6 * i, i);
  write_file("code", bytes, sizeof bytes);
  int fd = open("code", O_RDONLY);
  unsigned char* page = code_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  for (int i = 0; i < 100; ++i) {
    CHECK(read(fd, page, 6) == 6);
    CHECK(((Function)page)() == i);
  }
  return passed();
}
