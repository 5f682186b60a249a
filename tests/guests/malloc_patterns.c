// build: -O2
#include "guest.h"

// Small and large blocks, freed in another order: brk and mmap come and go.
int main(void) {
  enum { kBlocks = 2000 };
  static char* blocks[kBlocks];
  uint32_t seed = 1;
  for (int round = 0; round < 40000; ++round) {
    seed = seed * 1664525 + 1013904223;
    uint32_t index = (seed >> 8) % kBlocks;
    size_t size = (seed >> 4) % 17 == 0 ? 200000 : (seed >> 12) % 600 + 1;
    free(blocks[index]);
    blocks[index] = malloc(size);
    CHECK(blocks[index] != NULL);
    memset(blocks[index], (int)index, size < 300 ? size : 300);
  }
  for (int i = 0; i < kBlocks; ++i) CHECK(blocks[i] == NULL || blocks[i][0] == (char)i);
  return passed();
}
