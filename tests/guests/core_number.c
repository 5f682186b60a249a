// build: -O1 -D_GNU_SOURCE
// varies: the core
#include <cpuid.h>
#include <sched.h>

#include "guest.h"

// Instructions that tell which core runs the program: it may be another one in a replay.
static uint64_t by_rdpid(void) {
  uint64_t core;
  __asm__ volatile("rdpid %0" : "=r"(core));
  return core;
}

static unsigned by_lsl(unsigned selector, int* found) {
  unsigned limit = 77;
  char zero;
  __asm__ volatile("lsl %2, %0; setz %1" : "+r"(limit), "=r"(zero) : "r"(selector) : "cc");
  *found = zero;
  return limit;
}

int main(void) {
  unsigned a, b, c = 0, d, same = 0;
  int found = 0;
  const int has_rdpid = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 22 & 1) != 0;
  const unsigned core = by_lsl(0x7b, &found);
  CHECK(found);
  // Under some hypervisors it is a core of the host's, another one each time.
  if ((core & 0xfff) != (unsigned)sched_getcpu()) return skipped();
  for (int i = 0; i < 20; i++) {
    same += by_lsl(0x7b, &found) == core;
    if (has_rdpid) CHECK(by_rdpid() == core);
  }
  CHECK(same == 20 && by_lsl(0x2b, &found) == 0xffffffff && found);
  CHECK(by_lsl(0, &found) == 77 && !found);
  printf("%u\n", core);
  return passed();
}
