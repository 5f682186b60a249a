// build: -O1
#include <sys/mman.h>

#include "guest.h"

int main(void) {
  int* map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(map != MAP_FAILED);
  unsigned sum = 0;
  for (int i = 0; i < (1 << 18); ++i) map[i] = i * 3;
  for (int i = 0; i < (1 << 18); ++i) sum += (unsigned)map[i];
  CHECK(sum == 3u * ((1u << 17) * ((1u << 18) - 1)));
  CHECK(munmap(map, 1 << 19) == 0 && map[1 << 17] == 3 << 17);
  return passed();
}
