// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "guest.h"

// Accesses to memory that is not mapped, wherever that is: a null pointer plus whatever offset,
// what is near the program's code, addresses that are not canonical. And calls by pointers from
// there.
static sigjmp_buf back;
static volatile uintptr_t address;
static volatile int faults;

static void on_fault(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  address = (uintptr_t)info->si_addr;
  faults++;
  siglongjmp(back, 1);
}

static int reads(uintptr_t from) {
  if (sigsetjmp(back, 1) != 0) return 0;
  (void)*(volatile char*)from;
  return 1;
}

static int writes(uintptr_t to) {
  if (sigsetjmp(back, 1) != 0) return 0;
  *(volatile char*)to = 1;
  return 1;
}

// By a call of what `table` has in its second place.
static int calls(uintptr_t table) {
  if (sigsetjmp(back, 1) != 0) return 0;
  __asm__ volatile("call *8(%0)" ::"r"(table) : "memory");
  return 1;
}

static int jumps(uintptr_t table) {
  if (sigsetjmp(back, 1) != 0) return 0;
  __asm__ volatile("jmp *(%0)" ::"r"(table) : "memory");
  return 1;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  const uintptr_t low[] = {0x10, 0x10000, 0x10ff8, 0x20000, 0x21000, 0x40000, 0x100000, 0x400000};
  for (size_t i = 0; i < sizeof low / sizeof *low; i++) {
    CHECK(!reads(low[i]) && address == low[i] && !writes(low[i]) && address == low[i]);
    CHECK(!calls(low[i]) && address == low[i] + 8 && !jumps(low[i]) && address == low[i]);
  }
  for (uintptr_t at = 0x10000; at < 0x2000000; at += 0x110000) CHECK(!reads(at) && address == at);
  // The program lies in front of its code, for less than a page.
  const uintptr_t code = (uintptr_t)main & ~(uintptr_t)0xfff;
  for (uintptr_t below = 0x20000; below < 0x8000000; below *= 3) {
    CHECK(!reads(code - below) && address == code - below && !writes(code - below));
    CHECK(!calls(code - below) && address == code - below + 8);
  }
  CHECK(!reads(UINTPTR_MAX) && !writes(UINTPTR_MAX) && !reads((uintptr_t)1 << 63));
  const uintptr_t corrupted = 0x4141414141414141;
  const int before = faults;
  CHECK(!reads(corrupted) && !writes(corrupted) && !calls(corrupted) && !jumps(corrupted));
  CHECK(faults == before + 4);
  return passed();
}
