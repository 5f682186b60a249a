// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

#include "code.h"

// Code that was made before a fork and is made anew by the child, or by the parent, at one address.
int main(void) {
  unsigned char* code = code_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  put_return(code, 1);
  CHECK(((Function)code)() == 1);
  for (int i = 0; i < 5; i++) {
    pid_t child = forked();
    if (child == 0) {
      CHECK(((Function)code)() == i + 1);
      put_return(code, 50 + i);
      _exit(((Function)code)());
    }
    CHECK(((Function)code)() == i + 1);
    put_return(code, i + 2);
    CHECK(((Function)code)() == i + 2 && status_of(child) == 50 + i);
  }
  return passed();
}
