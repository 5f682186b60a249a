// build: -O1 -no-pie
// Fills and copies memory with string instructions that take long.
#include <stdint.h>
#include <stdlib.h>

enum { kBytes = 32 << 20 };

unsigned char* first;
unsigned char* second;
uint64_t rounds;

__attribute__((noinline)) void begin(void) { rounds = 0; }

int main(void) {
  first = malloc(kBytes);
  second = malloc(kBytes);
  begin();
  for (;; ++rounds) {
    void* to = first;
    uint64_t count = kBytes;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"((unsigned char)rounds) : "memory");
    void* from = first;
    to = second;
    count = kBytes;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  }
}
