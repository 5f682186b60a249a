// build: -O1
#include "guest.h"

// lretq and iretq to the next line, in the same segment.
int main(void) {
  uint64_t far = 0, interrupt = 0;
  __asm__ volatile(
      "sub $128, %%rsp\n mov %%cs, %%eax\n push %%rax\n lea 1f(%%rip), %%rax\n push %%rax\n"
      "lretq\n ud2\n 1: add $128, %%rsp\n mov $17, %0"
      : "=r"(far)::"rax", "memory");
  __asm__ volatile(
      "mov %%rsp, %%rdx\n sub $128, %%rsp\n mov %%ss, %%eax\n push %%rax\n push %%rdx\n pushf\n"
      "mov %%cs, %%eax\n push %%rax\n lea 1f(%%rip), %%rax\n push %%rax\n iretq\n ud2\n"
      "1: mov $18, %0"
      : "=r"(interrupt)::"rax", "rdx", "memory", "cc");
  CHECK(far == 17 && interrupt == 18);
  return passed();
}
