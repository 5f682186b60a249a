// build: -O2 -D_GNU_SOURCE -no-pie -fno-pie
#include <sys/mman.h>

#include "guest.h"

// A program at a fixed address whose memory fills more than the lowest two gigabytes, as Lisp
// systems do: a replay finds no room there for what is its own, nor near the code.
enum { kPage = 4096, kChunk = 16 << 20, kHeap = 4 << 20, kFloats = 64 };
static const uintptr_t kLowest = 0x10000, kEnd = 0x90000000;
static double table[kFloats];
static unsigned counted;

static double add(double x) { return x + 0.5; }
static double halve(double x) { return x / 2; }
static double (*volatile steps[])(double) = {add, halve};

static void* map_at(uintptr_t at, size_t size, int protection, int flags) {
  return mmap((void*)at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1,
              0);
}

static void fill(uintptr_t at, uintptr_t end, size_t size) {
  for (; at < end; at += size) {
    void* got = map_at(at, size, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE);
    if (got == MAP_FAILED && size > kPage) fill(at, at + size, size / 16);
  }
}

static double compute(double sum) {
  for (unsigned i = 0; i < 2000; i++) {
    table[i % kFloats] += sum;
    sum = steps[++counted % 3 == 0](table[i * 7 % kFloats] / (i + 1.0));
  }
  char text[32];
  snprintf(text, sizeof text, "%.3f", sum);
  return sum + (double)strlen(text);
}

// mov eax, value; ret: at a page of the translator's liking
static int run_code(uintptr_t at, unsigned char value) {
  const unsigned char code[] = {0xb8, value, 0, 0, 0, 0xc3};
  memcpy((void*)at, code, sizeof code);
  return ((int (*)(void))at)();
}

int main(void) {
  char* heap = sbrk(kHeap);
  CHECK(heap != (void*)-1);
  double sum = compute(1);
  fill(kLowest, kEnd, kChunk);
  for (uintptr_t at = kLowest; at < kEnd; at += 4 * kChunk) {
    *(volatile uintptr_t*)(at + 8) ^= at;
  }
  for (size_t at = 0; at < kHeap; at += kHeap / 16) heap[at] = (char)at;
  sum = compute(sum);
  for (int round = 0; round < 4; round++) {
    CHECK(munmap((void*)0x20000, 64 * kPage) == 0);
    sum = compute(sum);
    CHECK(map_at(0x20000, 64 * kPage, PROT_READ, MAP_FIXED) == (void*)0x20000);
    CHECK(mprotect((void*)0x30000, kPage, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    for (int i = 0; i < 40; i++) CHECK(run_code(0x30000, (unsigned char)i) == i);
    CHECK(mprotect((void*)0x50000000, 8 * kPage, round % 2 ? PROT_READ | PROT_WRITE : 0) == 0);
    CHECK(munmap((void*)(kEnd - kChunk), kChunk) == 0);
    sum = compute(sum);
  }
  printf("%.6f\n", sum);
  return passed();
}
