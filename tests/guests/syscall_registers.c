// build: -O1
#include "guest.h"

// A system call leaves rcx with the address behind it, r11 with the flags, and all else alone.
int main(void) {
  uint64_t rcx, r11, behind, flags;
  long id;
  __asm__ volatile(
      "pushfq\n\tpop %4\n\tlea 1f(%%rip), %3\n\tsyscall\n1:\n\tmov %%rcx, %1\n\tmov %%r11, %2"
      : "=a"(id), "=&r"(rcx), "=&r"(r11), "=&r"(behind), "=&r"(flags)
      : "0"(39L)
      : "rcx", "r11", "memory");
  CHECK(rcx == behind);
  CHECK((r11 & ~0x10000ul) == (flags & ~0x10000ul));
  // A number that no kernel has.
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "0"(100000L) : "rcx", "r11", "memory");
  CHECK(result == -ENOSYS);
  return passed();
}
