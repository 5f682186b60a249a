// build: -O0 -no-pie
// Counts in memory only: at most places of the loop all registers are the same in every round.
#include <stdint.h>

uint64_t rounds;
int stop_it;

__attribute__((noinline)) void begin(void) { rounds = 1; }

__attribute__((naked)) void count(void) {
  __asm__(
      "1: incq rounds(%rip)\n"
      "   nop\n"
      "   nop\n"
      "   nop\n"
      "   nop\n"
      "   xor %eax, %eax\n"
      "   jmp 1b\n");
}

int main(void) {
  begin();
  count();
  return 0;
}
