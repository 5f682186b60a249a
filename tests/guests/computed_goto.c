// build: -O2
#include "guest.h"

// A bytecode interpreter: one indirect jump for each instruction.
int main(void) {
  static const void* const kLabels[] = {&&add, &&twice, &&less, &&loop, &&end};
  static const unsigned char kProgram[] = {0, 1, 2, 0, 0, 2, 3, 4};
  uint32_t value = 1;
  int rounds = 50000;
  const unsigned char* next = kProgram;
  goto* kLabels[*next++];
add:
  value += 12345;
  goto* kLabels[*next++];
twice:
  value = value * 2 + (value >> 31);
  goto* kLabels[*next++];
less:
  value ^= value >> 3;
  goto* kLabels[*next++];
loop:
  if (--rounds > 0) next = kProgram;
  goto* kLabels[*next++];
end:
  printf("%08x ", value);
  return passed();
}
