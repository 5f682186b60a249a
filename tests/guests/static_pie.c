// build: -O2 -static-pie
#include "guest.h"

int main(void) {
  static int (*volatile function)(void) = passed;
  return function();
}
