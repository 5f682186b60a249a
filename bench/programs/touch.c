// Owns and has written MEGABYTES of memory, and computes on it: touch MEGABYTES.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t result;

__attribute__((noinline)) void end(void) { result ^= 1; }

int main(int argc, char** argv) {
  size_t size = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) << 20;
  unsigned char* memory = malloc(size);
  if (memory == NULL) return 1;
  for (size_t i = 0; i < size; ++i) memory[i] = (unsigned char)(i ^ (i >> 9));
  for (size_t i = 0; i < size; i += 64) result += memory[i];
  end();
  printf("%lu\n", result);
  free(memory);
  return 0;
}
