// build: -O1 -mcx16 -latomic
#include <stdatomic.h>

#include "guest.h"

int main(void) {
  _Atomic uint64_t counter = 0;
  uint64_t expected = 5;
  for (int i = 0; i < 1000; ++i) atomic_fetch_add(&counter, 3);
  CHECK(counter == 3000 && !atomic_compare_exchange_strong(&counter, &expected, 1));
  CHECK(expected == 3000 && atomic_exchange(&counter, 9) == 3000);
  _Alignas(16) uint64_t pair[2] = {1, 2};
  uint64_t low = 1, high = 2;
  uint8_t equal;
  __asm__ volatile("lock cmpxchg16b %0\n\tsete %1"
                   : "+m"(pair), "=q"(equal), "+a"(low), "+d"(high)
                   : "b"(30L), "c"(40L)
                   : "cc");
  CHECK(equal && pair[0] == 30 && pair[1] == 40);
  __asm__ volatile("lock btsq $3, %0" : "+m"(pair[0]) : : "cc");
  __asm__ volatile("lock xaddq %1, %0" : "+m"(pair[0]), "+r"(low));
  CHECK(low == 30 && pair[0] == 31);
  return passed();
}
