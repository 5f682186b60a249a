// build: -O0 -no-pie -D_GNU_SOURCE
// All memory below 2 GiB is mapped half way through, unmapped, and mapped once more.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

enum { kRounds = 24, kChunk = 16 << 20, kPage = 4096 };

int total, changes;
double quotient = 1;

static int add(int x) { return x + 3; }
static int twice(int x) { return x * 2 % 1001; }
int (*steps[])(int) = {add, twice};

static void map_all(uintptr_t at, uintptr_t end, size_t size) {
  for (; at < end; at += size) {
    void* got = mmap((void*)at, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED && size > kPage) map_all(at, at + size, size / 16);
  }
}

static void change_memory(int round) {
  ++changes;
  if (round == 8) map_all(0x10000, 0x90000000, kChunk);
  if (round == 12) munmap((void*)0x10000, 0x300000);
  if (round == 16) map_all(0x10000, 0x310000, kPage * 256);
  if (round == 18) munmap((void*)0x70000000, 0x10000000);
  if (round == 20) mprotect((void*)0x20000, 2 * kPage, PROT_NONE);
}

void work(int round) {
  for (int i = 0; i < 200; ++i) {
    total = steps[(i + round) % 2](total);
    quotient = quotient / 3 + total;
  }
  *(volatile char*)&quotient;  // mark: round
}

int main(void) {
  for (int round = 0; round < kRounds; ++round) {
    change_memory(round);
    work(round);
  }
  return 0;  // mark: return
}
