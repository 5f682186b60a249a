// Writes to a variable early, and dirties other pages from then on: seldom ROUNDS.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kPageWords = 512, kPages = 64 };

uint64_t seldom[kPageWords] __attribute__((aligned(4096)));
volatile uint64_t often[kPages][kPageWords] __attribute__((aligned(4096)));

__attribute__((noinline)) void end(void) { seldom[1] ^= 1; }

int main(int argc, char** argv) {
  uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
  for (uint64_t round = 0; round < rounds; ++round) {
    if (round == rounds / 50) *(volatile uint64_t*)&seldom[0] = 1;
    for (uint64_t i = 0; i < 40000; ++i) often[i % kPages][0] += round ^ i;
  }
  end();
  printf("%lu\n", often[0][0]);
  return 0;
}
