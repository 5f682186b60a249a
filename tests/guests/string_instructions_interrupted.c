// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tasks.h"

// String instructions that are interrupted in their midst, by signals and by other threads' turns:
// a processor may have stored more by then than the registers say, above all where a page is not
// there yet.
#define BYTES (1 << 20)
static uint8_t from[2][BYTES + 4096] __attribute__((aligned(4096)));
static uint8_t to[2][BYTES + 4096] __attribute__((aligned(4096)));
static volatile int ticks;

static void on_alarm(int number) {
  (void)number;
  ticks++;
}

static void copy(uint8_t* destination, const uint8_t* source, uint64_t bytes) {
  __asm__ volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(bytes)::"memory");
}

static void fill(uint8_t* destination, uint64_t value, uint64_t bytes) {
  __asm__ volatile("rep stosb" : "+D"(destination), "+c"(bytes) : "a"(value) : "memory");
}

static void copy_words(uint8_t* destination, const uint8_t* source, uint64_t bytes) {
  uint64_t words = bytes / 8;
  __asm__ volatile("rep movsq" : "+D"(destination), "+S"(source), "+c"(words)::"memory");
}

static void copy_down(uint8_t* destination, const uint8_t* source, uint64_t bytes) {
  destination += bytes - 1;
  source += bytes - 1;
  __asm__ volatile("std\n rep movsb\n cld"
                   : "+D"(destination), "+S"(source), "+c"(bytes)::"memory");
}

static void* work(void* which) {
  uint8_t *source = from[(intptr_t)which], *destination = to[(intptr_t)which];
  uint64_t sum = 0;
  for (unsigned round = 0; round < 400; round++) {
    uint64_t offset = round % 3 == 0 ? 0 : round % 64;
    CHECK(madvise(destination, BYTES, MADV_DONTNEED) == 0);
    for (uint64_t i = 0; i < BYTES; i += 64) source[i] = (uint8_t)(round + i / 64);
    if (round % 4 == 0) copy(destination + offset, source, BYTES);
    if (round % 4 == 1) fill(destination + offset, round, BYTES);
    if (round % 4 == 2) copy_words(destination + offset, source, BYTES);
    if (round % 4 == 3) copy_down(destination, source, BYTES / 8);
    // As the C library copies: what it stores to begins at a cache line.
    for (uint64_t at = 0; at + 8192 <= BYTES; at += 8192) {
      memcpy(destination + at + 64, source + at + offset, 8192 - 64 - offset);
    }
    sum = sum * 31 + destination[offset + BYTES / 16] + destination[round * 64];
  }
  return (void*)(intptr_t)(sum != 0);
}

int main(void) {
  CHECK(signal(SIGALRM, on_alarm) != SIG_ERR);
  struct itimerval every = {{0, 700}, {0, 700}}, off = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  pthread_t one = started(work, (void*)0), two = started(work, (void*)1);
  CHECK(joined(one) == 1 && joined(two) == 1);
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  return passed();
}
