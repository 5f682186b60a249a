// build: -O1 -D_GNU_SOURCE -mfsgsbase
#include <immintrin.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>

#include "guest.h"

// The base of GS may be anything in the kernel's half, for whoever sets it by WRGSBASE.
static volatile uint64_t seen;
static void on_signal(int signal) {
  (void)signal;
  seen = _readgsbase_u64();
}

int main(void) {
  const unsigned long fsgsbase = 2;  // HWCAP2_FSGSBASE
  if ((getauxval(AT_HWCAP2) & fsgsbase) == 0) return skipped();
  const uint64_t odd = 0xffff800000001000;
  const uint64_t old = _readgsbase_u64();
  CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
  _writegsbase_u64(odd);
  uint64_t sum = 0;
  for (int i = 0; i < 200; ++i) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    unsigned low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    CHECK(high != 0 || low != 0);
    if (i % 50 == 7) CHECK(raise(SIGUSR1) == 0);
    for (int k = 0; k < 1000; ++k) sum = sum * 3 + (uint64_t)now.tv_nsec;
    CHECK(_readgsbase_u64() == odd);
  }
  CHECK(seen == odd);
  _writegsbase_u64(old);
  CHECK(sum != 0);
  return passed();
}
