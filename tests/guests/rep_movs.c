// build: -O1
#include "guest.h"

static void copy(void* to, const void* from, size_t count) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void copy_words(void* to, const void* from, size_t count) {
  __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void fill(void* to, char value, size_t count) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

enum { kSize = 20 << 20 };

int main(void) {
  char* area = malloc(kSize);
  CHECK(area);
  fill(area, 7, kSize);
  CHECK(area[0] == 7 && area[kSize - 1] == 7);
  for (int i = 0; i < 1000; ++i) area[i] = (char)i;
  copy_words(area + (10 << 20), area, (9 << 20) / 8);
  CHECK(memcmp(area, area + (10 << 20), 9 << 20) == 0);
  copy(area + 1, area, 500);  // overlapping: the first byte spreads
  for (int i = 0; i <= 500; ++i) CHECK(area[i] == 0);
  copy(area, area + 3, 5000);
  copy(area, area + 1, 0);
  for (int round = 0; round < 10000; ++round) fill(area, (char)round, 9);
  CHECK(area[8] == (char)9999);
  return passed();
}
