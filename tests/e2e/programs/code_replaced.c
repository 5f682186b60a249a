// build: -O0 -no-pie
// Runs code for a while, and then other code at the same place.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

long sums[2];

static long run(unsigned char step, long rounds) {
  unsigned char code[] = {0x31, 0xc0, 0x48, 0x83, 0xc0, step, 0x48, 0xff, 0xcf, 0x75, 0xf7, 0xc3};
  void* place = (void*)0x30000000;
  mmap(place, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  memcpy(place, code, sizeof code);
  mprotect(place, 4096, PROT_READ | PROT_EXEC);
  long sum = ((long (*)(long))place)(rounds);
  munmap(place, 4096);
  return sum;
}

int main(void) {
  sums[0] = run(1, 1000000000);
  sums[1] = run(3, 1000000000);  // mark: second
  return sums[1] != 3000000000;  // mark: return
}
