// build: -O1
#include "guest.h"

// Every string instruction, forwards and with the direction flag set.
int main(void) {
  char text[64] = "the quick brown fox jumps over the lazy dog", copy[64];
  const char* from = text + 42;
  char* to = copy + 42;
  size_t count = 43;
  __asm__ volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  CHECK(memcmp(text, copy, 43) == 0 && to == copy - 1);
  const char* scan = text;
  count = 44;
  __asm__ volatile("repne scasb" : "+D"(scan), "+c"(count) : "a"('q') : "memory", "cc");
  CHECK(scan == text + 5);
  scan = text + 42;
  count = 43;
  __asm__ volatile("std; repne scasb; cld" : "+D"(scan), "+c"(count) : "a"('q') : "memory", "cc");
  CHECK(scan == text + 3);
  copy[20] = '!';
  const char *left = text, *right = copy;
  count = 43;
  __asm__ volatile("repe cmpsb" : "+S"(left), "+D"(right), "+c"(count) : : "memory", "cc");
  CHECK(left == text + 21);
  uint32_t words[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  uint32_t* word = words + 7;
  count = 4;
  __asm__ volatile("std; rep stosl; cld" : "+D"(word), "+c"(count) : "a"(9) : "memory");
  CHECK(words[3] == 4 && words[4] == 9 && words[7] == 9);
  uint64_t value;
  const uint32_t* load = words;
  __asm__ volatile("lodsl; lodsl" : "+S"(load), "=a"(value) : : "memory");
  CHECK(value == 2 && load == words + 2);
  return passed();
}
