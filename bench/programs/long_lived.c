// Runs for SECONDS, dirties 64 pages all the time, makes a system call every now and then, and
// writes to a variable once, 2 % of the time after its start: long_lived SECONDS.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { kPageWords = 512, kPages = 64 };

uint64_t seldom[kPageWords] __attribute__((aligned(4096)));
volatile uint64_t often[kPages][kPageWords] __attribute__((aligned(4096)));

__attribute__((noinline)) void end(void) { seldom[1] ^= 1; }

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
  const double start = now();
  for (uint64_t round = 0;; ++round) {
    for (uint64_t i = 0; i < 2000000; ++i) often[i % kPages][round % kPageWords] += round ^ i;
    const double passed = now() - start;
    if (passed > seconds / 50 && seldom[0] == 0) *(volatile uint64_t*)&seldom[0] = 1;
    if (passed > seconds) break;
  }
  end();
  printf("%lu\n", often[0][0]);
  return 0;
}
