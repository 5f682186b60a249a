// build: -O1 -pthread -D_GNU_SOURCE
// needs: rdrand
// varies: random numbers
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "guest.h"

// RDRAND and RDSEED in all their forms; what only looks like one; threads, children, code that is
// mapped later.
extern char __executable_start[];
static uint64_t mixed;

static void mix(uint64_t value) { mixed = mixed * 0x9e3779b97f4a7c15 + value; }

#define DRAW(instruction, constraint, type)                                     \
  do {                                                                          \
    type value;                                                                 \
    uint64_t flags;                                                             \
    __asm__ volatile("stc\n\tmovb $0x7f, %%al\n\taddb $1, %%al\n\t" instruction \
                     "\n\tpushf\n\tpop %1"                                      \
                     : constraint(value), "=&r"(flags)                          \
                     :                                                          \
                     : "rax", "cc");                                            \
    CHECK((flags & 0x8d4) == 0); /* OF SF ZF AF PF */                           \
    CHECK((flags & 1) == 1 || value == 0);                                      \
    mix(value);                                                                 \
  } while (0)

static void all_forms(void) {
  for (int i = 0; i < 10; i++) {
    DRAW("rdrand %0", "=&r", uint64_t);
    DRAW("rdrand %0", "=&r", uint32_t);
    DRAW("rdrand %0", "=&r", uint16_t);
    DRAW("rdseed %0", "=&r", uint64_t);
    DRAW("rdseed %0", "=&r", uint32_t);
    DRAW("rdseed %0", "=&r", uint16_t);
  }
  // Registers by name: those with a REX prefix, the upper part of one that is written in part, the
  // stack pointer (its lower half: under some hypervisors a stop is fatal where it is not
  // canonical).
  uint64_t high = 0x1122334455660000, wide = ~0ull, stack;
  __asm__ volatile(
      "mov %0, %%r11\n\trdrand %%r11w\n\tmov %%r11, %0\n\t"
      "mov %1, %%r13\n\trdrand %%r13d\n\tmov %%r13, %1\n\t"
      "mov %%rsp, %%r14\n\trdrand %%esp\n\tmov %%rsp, %2\n\tmov %%r14, %%rsp\n\t"
      : "+r"(high), "+r"(wide), "=&r"(stack)
      :
      : "r11", "r13", "r14", "cc");
  CHECK(high >> 16 == 0x112233445566 && wide >> 32 == 0 && stack >> 32 == 0);
  mix(high), mix(wide), mix(stack);
}

// Immediates, displacements and data with the bytes of RDRAND and RDSEED in them.
__attribute__((noinline)) static uint64_t lookalikes(uint64_t x) {
  uint64_t a, b;
  __asm__ volatile(
      "movabs $0xf0c70ff8c70ff1c7, %0\n\t"
      "xor $0x7ff0c70f, %k0\n\t"
      "jmp 1f\n\t"
      "2: .byte 0x0f, 0xc7, 0xf0, 0x0f, 0xc7, 0xf8, 0x90, 0x90\n\t"
      "1: mov 2b(%%rip), %1\n\t"
      : "=&r"(a), "=&r"(b));
  return a ^ b ^ x;
}

static void* thread(void* out) {
  uint64_t sum = 0;
  for (int i = 0; i < 50; i++) {
    unsigned long long value;
    unsigned char success;
    __asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(value), "=qm"(success) : : "cc");
    sum = sum * 31 + value + success;
  }
  *(uint64_t*)out = sum;
  return NULL;
}

int main(void) {
  CHECK(lookalikes(5) == (0xb8ff36c8ull ^ 0x9090f8c70ff0c70full ^ 5));
  all_forms();
  uint64_t sums[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, thread, &sums[i]) == 0);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  mix(sums[0]), mix(sums[1]);
  pid_t child = fork();
  if (child == 0) {
    all_forms();
    _exit((int)(mixed & 0x7f));
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
  mix((uint64_t)WEXITSTATUS(status));

  // This program's code again, elsewhere, made executable later.
  int file = open("/proc/self/exe", O_RDONLY);
  char *page = (char*)((uintptr_t)thread & ~4095ul), *begin = __executable_start;
  size_t size = 3 * 4096;
  char* copy = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, page - begin);
  CHECK(copy != MAP_FAILED);
  CHECK(mprotect(copy, size, PROT_READ | PROT_EXEC) == 0);
  ((void* (*)(void*))(copy + ((char*)(uintptr_t)thread - page)))(&sums[0]);
  mix(sums[0]);
  CHECK(munmap(copy, size) == 0 && lookalikes(9) != lookalikes(8));
  printf("%016lx ", mixed);
  return passed();
}
