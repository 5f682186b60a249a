// build: -O2 -no-pie -Wl,-Ttext-segment=0x10000000
#include "guest.h"

static int value = 3;

int main(void) {
  CHECK((uintptr_t)&value < 0x20000000 && value == 3);
  return passed();
}
