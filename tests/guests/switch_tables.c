// build: -O2 -fno-pie -no-pie -mno-red-zone
#include "guest.h"

__attribute__((noinline)) static unsigned step(unsigned state, unsigned input) {
  switch (input % 11) {
    case 0:
      return state + 1;
    case 1:
      return state * 3;
    case 2:
      return state ^ 0x55;
    case 3:
      return state >> 1;
    case 4:
      return state << 3;
    case 5:
      return ~state;
    case 6:
      return state - input;
    case 7:
      return state / 3;
    case 8:
      return state | 0x100;
    case 9:
      return state & 0xffff;
    default:
      return state + input;
  }
}

int main(void) {
  unsigned state = 1;
  for (unsigned i = 0; i < 300000; ++i) state = step(state, state + i);
  printf("%08x ", state);
  return passed();
}
