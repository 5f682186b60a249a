// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

// Eight megabytes through a pipe, in pieces of all sizes, and a checksum back.
int main(void) {
  static unsigned char block[70000];
  int forth[2], back[2];
  uint64_t sum = 0, seen = 0;
  CHECK(pipe(forth) == 0 && pipe(back) == 0);
  pid_t child = forked();
  if (child == 0) {
    close(forth[1]);
    ssize_t size;
    while ((size = read(forth[0], block, sizeof block)) > 0)
      for (ssize_t i = 0; i < size; i++) sum = sum * 31 + block[i];
    CHECK(size == 0 && write(back[1], &sum, sizeof sum) == sizeof sum);
    _exit(0);
  }
  close(forth[0]);
  unsigned seed = 7;
  for (size_t sent = 0; sent < 8 << 20;) {
    size_t size = 1 + (size_t)rand_r(&seed) % sizeof block, done = 0;
    for (size_t i = 0; i < size; i++) {
      block[i] = (unsigned char)(sent + i * 13);
      sum = sum * 31 + block[i];
    }
    while (done < size) {
      ssize_t count = write(forth[1], block + done, size - done);
      CHECK(count > 0);
      done += (size_t)count;
    }
    sent += size;
  }
  close(forth[1]);
  CHECK(read(back[0], &seen, sizeof seen) == sizeof seen && seen == sum && status_of(child) == 0);
  return passed();
}
