// build: -O1
#include "guest.h"

// Instructions that compilers hardly use and that programs contain.
int main(void) {
  uint64_t result;
  __asm__ volatile(
      "sub $256, %%rsp\n\tenter $64, $0\n\tmovq $5, -8(%%rbp)\n\tmov -8(%%rbp), %0\n\tleave\n\tadd "
      "$256, %%rsp"
      : "=r"(result)
      :
      : "memory");
  CHECK(result == 5);
  unsigned char table[256];
  for (int i = 0; i < 256; ++i) table[i] = (unsigned char)(255 - i);
  uint8_t byte = 10;
  __asm__ volatile("xlatb" : "+a"(byte) : "b"(table) : "memory");
  CHECK(byte == 245);
  uint64_t count = 5, sum = 0;
  __asm__ volatile("1: add %0, %1\n\tloop 1b" : "+c"(count), "+r"(sum) : : "cc");
  CHECK(count == 0 && sum == 15);
  __asm__ volatile("jrcxz 1f\n\tmov $1, %1\n1:" : "+c"(count), "+r"(sum));
  CHECK(sum == 15);
  count = 9;
  __asm__ volatile("xor %%eax, %%eax\n1: cmp $4, %0\n\tloopne 1b" : "+c"(count) : : "rax", "cc");
  CHECK(count == 3);
  uint32_t swapped = 0x11223344;
  __asm__ volatile("bswap %0" : "+r"(swapped));
  CHECK(swapped == 0x44332211);
  uint16_t code, data;
  __asm__ volatile("mov %%cs, %0\n\tmov %%ss, %1" : "=r"(code), "=r"(data));
  CHECK(code == 0x33 && data == 0x2b);
  return passed();
}
