// build: -O1 -D_GNU_SOURCE
// stops: int 0x80
#include <signal.h>

#include "guest.h"

// A 32-bit system call.
int main(void) {
  long result;
  CHECK(signal(SIGSEGV, skip_on_fault) != SIG_ERR);
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(20) : "memory");
  CHECK(result == getpid());
  return passed();
}
