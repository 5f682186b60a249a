// build: -O2
#include "guest.h"

// A good second with hardly a system call: snapshots come between.
int main(void) {
  static uint32_t table[1 << 20];
  uint32_t seed = 1;
  for (int i = 0; i < 150000000; ++i) {
    seed = seed * 1664525 + 1013904223;
    table[seed >> 12] ^= seed;
  }
  uint32_t sum = 0;
  for (int i = 0; i < 1 << 20; ++i) sum = sum * 31 + table[i];
  printf("%08x ", sum);
  return passed();
}
