// build: -O1
#include <signal.h>

#include "guest.h"

int main(void) {
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536}, back;
  CHECK(sigaltstack(&stack, NULL) == 0);
  CHECK(sigaltstack(NULL, &back) == 0 && back.ss_sp == stack.ss_sp && back.ss_size == 65536);
  return passed();
}
