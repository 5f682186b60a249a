// build: -O2 -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "guest.h"

// Reserves the lowest four gigabytes at a mere hint, as browsers do, and then uses some of them: a
// replay has to keep what is its own elsewhere from there on.
enum { kPage = 4096, kPages = 16 };
static char* const kLowest = (char*)0x10000;
static const size_t kReserved = 0x1000f0000;
static volatile unsigned faults;

static unsigned twice(unsigned x) { return 2 * x + 1; }
static unsigned mixed(unsigned x) { return (x ^ faults) * 2654435761u; }
static unsigned (*const volatile steps[])(unsigned) = {twice, mixed};

static unsigned compute(unsigned sum) {
  for (unsigned i = 0; i < 3000; i++) sum = steps[sum >> 7 & 1](sum + i);
  return sum;
}

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  faults++;
  char* page = (char*)((uintptr_t)info->si_addr & ~(uintptr_t)(kPage - 1));
  if (mprotect(page, kPage, PROT_READ | PROT_WRITE) != 0) _exit(98);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  unsigned sum = compute(1);
  char* low =
      mmap(kLowest, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(low != MAP_FAILED);
  if (low != kLowest) return skipped();
  sum = compute(sum);
  for (unsigned i = 0; i < kPages; i++) low[i * 5 * kPage + i] = (char)(sum >> i);
  CHECK(faults == kPages);
  for (unsigned i = 0; i < kPages; i++) CHECK(low[i * 5 * kPage + i] == (char)(sum >> i));
  sum = compute(sum);
  CHECK(munmap(low, 1 << 20) == 0);
  sum = compute(sum);
  CHECK(mmap(low, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) == low);
  memset(low, 7, 1 << 20);
  sum = compute(sum);
  CHECK(munmap(low, kReserved) == 0);
  printf("%u %u\n", compute(sum), faults);
  return passed();
}
