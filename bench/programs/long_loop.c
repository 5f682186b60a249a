// A stretch of computation between two calls, without a system call: long_loop ROUNDS. Each round
// is eight instructions.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t result;

__attribute__((noinline)) void begin(void) { result = 1; }
__attribute__((noinline)) void end(void) { result ^= 1; }

int main(int argc, char** argv) {
  uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000, mixed = 1;
  begin();
  __asm__ volatile(
      "1:\n\t"
      "lea (%0,%0,4), %0\n\t"
      "xor %1, %0\n\t"
      "rol $7, %0\n\t"
      "add $11, %0\n\t"
      "mov %0, %2\n\t"
      "nop\n\t"
      "dec %1\n\t"
      "jnz 1b"
      : "+r"(mixed), "+r"(rounds), "=m"(result)
      :
      : "cc");
  end();
  printf("%lu\n", mixed);
  return 0;
}
