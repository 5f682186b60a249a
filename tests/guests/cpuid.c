// build: -O1
// varies: a recorder may hide features
#include <cpuid.h>

#include "guest.h"

int main(void) {
  unsigned a, b, c, d, mixed = 0;
  for (unsigned leaf = 0; leaf < 16; ++leaf) {
    __cpuid_count(leaf, 0, a, b, c, d);
    mixed = (mixed * 31 + a) * 31 + b + c * 7 + d;
  }
  // Every general register that the instruction does not name stays.
  uint64_t kept = 0x1122334455667788;
  __asm__ volatile("mov $0x80000000, %%eax\n\tcpuid" : "+S"(kept) : : "rax", "rbx", "rcx", "rdx");
  CHECK(kept == 0x1122334455667788);
  printf("%08x ", mixed);
  return passed();
}
