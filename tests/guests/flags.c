// build: -O1
#include "guest.h"

// Arithmetic flags that live across jumps, calls and system calls.
static uint64_t flags(void) {
  uint64_t value;
  __asm__ volatile("pushfq; pop %0" : "=r"(value) : : "memory");
  return value;
}

int main(void) {
  uint64_t mixed = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    uint64_t a = i * 0x9e3779b97f4a7c15, b = a >> (i % 63), out;
    uint8_t carry;
    __asm__ volatile(
        "add %3, %0\n\tjc 1f\n\tnop\n1:\n\tadc %3, %0\n\tlea 8(%0), %0\n\tsbb $3, %0\n\tsetc %1"
        : "=&r"(out), "=r"(carry)
        : "0"(a), "r"(b)
        : "cc");
    __asm__ volatile("mov %1, %%ecx\n\trol %%cl, %0" : "+r"(out) : "r"((uint32_t)i) : "rcx", "cc");
    __asm__ volatile("bsr %1, %0" : "+r"(b) : "r"(out | 1) : "cc");
    mixed = mixed * 31 + out + carry + b;
  }
  uint64_t kept;
  long id;
  // stc; syscall: the carry comes back with everything else.
  __asm__ volatile("stc\n\tsyscall\n\tpushfq\n\tpop %1"
                   : "=a"(id), "=&r"(kept)
                   : "0"(39L)
                   : "rcx", "r11", "memory", "cc");
  CHECK((kept & 1) == 1 && id == getpid());
  CHECK((flags() & 0x200) != 0);
  printf("%016lx ", mixed);
  return passed();
}
