// build: -O1
#include <sys/resource.h>

#include "guest.h"

// Grows its stack to far beyond the limit that it started with, which it raises first.

enum { kFrameBytes = 4096 };

static __attribute__((noinline)) int deep(int levels) {
  volatile char frame[kFrameBytes];
  for (int i = 0; i < kFrameBytes; i += 512) frame[i] = (char)levels;
  const int below = levels == 0 ? 0 : deep(levels - 1);
  return below + frame[512] - (char)levels + 1;
}

int main(void) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
  const rlim_t wanted = (rlim_t)100 << 20;
  if (limit.rlim_max < wanted) return skipped();
  limit.rlim_cur = (rlim_t)8 << 20;
  CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
  CHECK(deep(1000) == 1001);
  limit.rlim_cur = wanted;
  CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
  CHECK(deep(20000) == 20001);
  return passed();
}
