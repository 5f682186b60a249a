// build: -O1 -no-pie
// Computes for a long time, so that it can be interrupted in the middle.
#include <stdint.h>

volatile uint64_t rounds;
volatile int stop_it;

__attribute__((noinline)) void begin(void) { rounds = 1; }

int main(void) {
  begin();
  while (!stop_it) ++rounds;  // mark: spin
  return 0;
}
