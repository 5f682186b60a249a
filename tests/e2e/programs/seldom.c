// build: -O0 -D_GNU_SOURCE
// record: --snapshots 100
// Runs for a while, dirtying memory all the time, and writes to some variables seldom: their last
// changes lie far back, in stretches of history that need not be run for them.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096
#define PAGES 64
#define ROUNDS 4000

struct page {
  volatile uint64_t value;
  char rest[PAGE - sizeof(uint64_t)];
};

static struct page never __attribute__((aligned(PAGE)));
static struct page early __attribute__((aligned(PAGE)));
static struct page twice __attribute__((aligned(PAGE)));
static struct page by_call __attribute__((aligned(PAGE)));
static struct page often[PAGES] __attribute__((aligned(PAGE)));
static struct page* moved;

static uint64_t busy(uint64_t round) {
  for (uint64_t i = 0; i < 40000; i++) {
    often[i % PAGES].value += round ^ i;
  }
  return often[round % PAGES].value;
}

int main(void) {
  uint64_t sum = 0;
  moved = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  moved[0].value = 7;  // mark: moved
  for (uint64_t round = 0; round < ROUNDS; round++) {
    if (round == 150) early.value = 42;  // mark: early
    if (round == 600) twice.value = 1;   // mark: once
    if (round == 1900) twice.value = 2;  // mark: twice
    if (round == 1000) moved = mremap(moved, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    sum += busy(round);
  }
  printf("%llu\n", (unsigned long long)sum);
  return 0;  // mark: end
}
