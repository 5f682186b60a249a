#include <stdint.h>

volatile uint64_t numbers[2];

__attribute__((noinline)) void draw(void) {
  uint64_t value;
  __asm__ volatile("rdrand %0" : "=r"(value) : : "cc");
  numbers[0] = value;
  __asm__ volatile("rdrand %0" : "=r"(value) : : "cc");
  numbers[1] = value;
  __asm__ volatile(".global at_return\nat_return: nop");
}

int main(void) {
  draw();
  return 0;
}
