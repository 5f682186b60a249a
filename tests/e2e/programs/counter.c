// build: -g -O0
#include <stdint.h>
#include <stdio.h>

// Reads the time stamp counter so often that a recorder may want to have it read without stops.
static uint64_t sum, rounds;

static int inner(int round) {
  uint64_t first = __builtin_ia32_rdtsc();
  rounds += (uint64_t)round;
  sum += first & 1;
  uint64_t second = __builtin_ia32_rdtsc();
  return second > first;
}

int main(void) {
  int good = 0;
  for (int round = 0; round < 1000; round++) {
    good += inner(round);
  }
  printf("%d\n", good);
  return 0;
}
