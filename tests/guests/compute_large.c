// build: -O2
#include "guest.h"

// A good second in which 48 MiB change again and again, without a system call: more than an event
// holds. What tells places apart is in memory alone: the loop begins anew each time.
enum { kWords = 6 << 20, kRounds = 60 };

int main(void) {
  static uint64_t table[kWords];
  static volatile uint64_t round;
  for (round = 0; round < kRounds; ++round) {
    uint64_t seed = 88172645463325252ull;
    for (int i = 0; i < kWords; ++i) {
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      table[i] += seed >> 60;
    }
  }
  uint64_t sum = 0;
  for (int i = 0; i < kWords; ++i) sum = sum * 31 + table[i];
  printf("%lx ", sum);
  return passed();
}
