// build: -O1 -D_GNU_SOURCE
#include <cpuid.h>
#include <ucontext.h>

#include "guest.h"

// The address of the last x87 instruction, as the instructions store it that can: in loops, behind
// branches and calls, and in contexts that are switched. AMD's processors store it with a pending
// exception only.
static int is_intel;

struct environment {
  uint32_t control, status, tags, instruction, opcode, data, data_selector;
};

static void check_pointer(uint64_t found, const void* expected, uint64_t mask) {
  if (is_intel) CHECK(found == ((uint64_t)expected & mask));
}

static void* one(double* value) {
  void* at;
  __asm__ volatile("lea 1f(%%rip), %0\n1: faddl %1\n fstp %%st(1)\n fld1"
                   : "=r"(at)
                   : "m"(*value)
                   : "memory");
  __asm__ volatile("fstp %st(0)");
  return at;
}

static void by_environment(void) {
  struct environment environment;
  void* at;
  __asm__ volatile("fld1\n lea 1f(%%rip), %0\n1: fstp %%st(0)\n fnstenv %1\n fldcw %1"
                   : "=r"(at), "=m"(environment));
  check_pointer(environment.instruction, at, 0xffffffff);
  // Again: nothing came between.
  __asm__ volatile("fnstenv %0\n fldenv %0\n fnstenv %0" : "+m"(environment));
  check_pointer(environment.instruction, at, 0xffffffff);
  for (int i = 0; i < 1000; i++) {
    void *first, *second;
    __asm__ volatile(
        "lea 1f(%%rip), %0\n lea 2f(%%rip), %1\n"
        "1: fld1\n test $1, %3\n jz 3f\n2: fchs\n3: fnstenv %2\n fldenv %2\n fstp %%st(0)"
        : "=&r"(first), "=&r"(second), "=m"(environment)
        : "r"(i)
        : "cc");
    check_pointer(environment.instruction, i & 1 ? second : first, 0xffffffff);
  }
  __asm__ volatile("fld1\n fstp %%st(0)\n fninit\n fnstenv %0" : "=m"(environment));
  CHECK(environment.instruction == 0);
}

static void by_save(void) {
  uint8_t area[4096] __attribute__((aligned(64)));
  void* at;
  uint64_t found;
  memset(area, 0, sizeof area);
  __asm__ volatile("fld1\n lea 1f(%%rip), %0\n1: fstp %%st(0)\n fxsave64 %1"
                   : "=r"(at), "=m"(area));
  memcpy(&found, area + 8, 8);
  check_pointer(found, at, ~0ull);
  __asm__ volatile("fldpi\n fstp %%st(0)\n fxrstor64 %0\n fxsave64 %0" : "+m"(area));
  memcpy(&found, area + 8, 8);
  check_pointer(found, at, ~0ull);
  __asm__ volatile("fldpi\n lea 1f(%%rip), %0\n1: fstp %%st(0)\n xsave64 %1"
                   : "=r"(at), "+m"(area)
                   : "a"(1), "d"(0));
  memcpy(&found, area + 8, 8);
  check_pointer(found, at, ~0ull);
  // The x87 state is not asked for: FIP stays.
  __asm__ volatile("fldpi\n lea 1f(%%rip), %0\n1: fstp %%st(0)\n xrstor64 %1"
                   : "=r"(at)
                   : "m"(area), "a"(4), "d"(0));
  __asm__ volatile("xsave64 %0" : "+m"(area) : "a"(1), "d"(0));
  memcpy(&found, area + 8, 8);
  check_pointer(found, at, ~0ull);
  struct {
    struct environment environment;
    uint8_t registers[80];
  } saved;
  __asm__ volatile("fldpi\n lea 1f(%%rip), %0\n1: fstp %%st(0)\n fnsave %1"
                   : "=r"(at), "=m"(saved));
  check_pointer(saved.environment.instruction, at, 0xffffffff);
}

static ucontext_t main_context, other;
static volatile long double shared_sum = 1;

static void coroutine(void) {
  for (;;) {
    shared_sum = shared_sum * 1.5L;
    CHECK(swapcontext(&other, &main_context) == 0);
  }
}

int main(void) {
  unsigned eax, ebx, ecx, edx;
  __cpuid(0, eax, ebx, ecx, edx);
  is_intel = ebx == signature_INTEL_ebx;
  double two = 2;
  __asm__ volatile("fld1");
  (void)one(&two);
  by_environment();
  by_save();
  static char stack[65536];
  CHECK(getcontext(&other) == 0);
  other.uc_stack.ss_sp = stack;
  other.uc_stack.ss_size = sizeof stack;
  makecontext(&other, coroutine, 0);
  for (int i = 0; i < 50; i++) CHECK(swapcontext(&main_context, &other) == 0);
  CHECK(shared_sum > 1e8L);
  return passed();
}
