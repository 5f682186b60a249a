// build: -O0 -fno-stack-protector
// status: SIGSEGV
#include "guest.h"

// What a string that is too long does to a return address.
static void __attribute__((noinline)) overrun(volatile char* text, int length) {
  for (int i = 0; i < length; i++) text[i] = 'A';
}

static void __attribute__((noinline)) callee(void) {
  volatile char text[16];
  overrun(text, 40);
}

int main(void) {
  passed();
  fflush(stdout);
  callee();
  return 1;
}
