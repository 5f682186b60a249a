// build: -O1
#include "guest.h"

// A good second of copying without a system call: whoever stops it stops it inside of an
// instruction, which has stored more than its registers say.
enum { kSize = 12 << 20, kRounds = 1000 };

int main(void) {
  static char area[2 * kSize];
  for (int i = 0; i < kSize; ++i) area[i] = (char)(i * 7);
  for (int round = 0; round < kRounds; ++round) {
    area[0] = (char)round;
    void* to = round % 2 ? area : area + kSize;
    void* from = (round % 2 ? area + kSize : area) + 1;  // all that is stored is new
    size_t count = kSize - 1;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  }
  uint32_t sum = 0;
  for (int i = 0; i < 2 * kSize; ++i) sum = sum * 31 + (uint8_t)area[i];
  printf("%08x ", sum);
  return passed();
}
