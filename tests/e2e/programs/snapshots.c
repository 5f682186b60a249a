// build: -O1 -no-pie
// record: --snapshots 10
// Computes without a call for longer than page snapshots are apart, half of it in string
// instructions.
#include <stdint.h>
#include <stdio.h>

enum { kRounds = 1, kBytes = 1 << 20 };

unsigned char filled[kBytes];
uint64_t counter;

__attribute__((naked, noinline)) static void count(uint64_t times) {
  __asm__(
      "1: incq counter(%rip)\n"
      "   pause\n"
      "   xor %eax, %eax\n"
      "   dec %rdi\n"
      "   jnz 1b\n"
      "   ret\n");
}

__attribute__((noinline)) static void fill(unsigned char value) {
  for (int i = 0; i < 2; ++i, value += 64) {
    void* to = filled;
    uint64_t left = kBytes;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(left) : "a"(value) : "memory");
  }
}

int main(void) {
  for (int round = 1; round <= kRounds; ++round) {
    count(10000000);
    for (int i = 0; i < 4000; ++i) fill((unsigned char)(round * 8 + i));
  }
  printf("%d\n", filled[0]);
  return 0;
}
