// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

// Children side by side, each of which computes, writes to the pipe and ends.
int main(void) {
  int ends[2], sum = 0;
  pid_t children[40];
  CHECK(pipe(ends) == 0);
  for (int i = 0; i < 40; i++) {
    children[i] = forked();
    if (children[i] == 0) {
      uint64_t value = computed(10000 + (uint64_t)i);
      CHECK(write(ends[1], &value, 8) == 8);
      _exit(i);
    }
  }
  uint64_t value, all = 0, expected = 0;
  for (int i = 0; i < 40; i++) {
    CHECK(read(ends[0], &value, 8) == 8);
    all += value;
    expected += computed(10000 + (uint64_t)i);
  }
  for (int i = 0; i < 40; i++) sum += status_of(children[i]);
  CHECK(all == expected && sum == 780);
  return passed();
}
