// A function that is called a million times, with some work between: hits CALLS WORK.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t result = 1;

__attribute__((noinline)) void begin(void) { result = 1; }
__attribute__((noinline)) void end(void) { result ^= 1; }
__attribute__((noinline)) void hit(uint64_t i) { result ^= i; }

int main(int argc, char** argv) {
  uint64_t calls = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
  uint64_t work = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
  begin();
  for (uint64_t i = 0; i < calls; ++i) {
    for (uint64_t k = 0; k < work; ++k) result = result * 6364136223846793005 + k;
    hit(i);
  }
  end();
  printf("%lu\n", result);
  return 0;
}
