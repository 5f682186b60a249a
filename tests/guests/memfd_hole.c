// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "guest.h"

// Holes in a file that is mapped, made through the mapping, and in memory that is shared.
int main(void) {
  const size_t size = 16 * 4096;
  const int file = memfd_create("holes", 0);
  CHECK(file >= 0 && ftruncate(file, (off_t)size) == 0);
  unsigned char* a = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  unsigned char* b = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  unsigned char* anonymous =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(a != MAP_FAILED && b != MAP_FAILED && anonymous != MAP_FAILED);
  memset(a, 1, size);
  memset(anonymous, 2, size);
  CHECK(madvise(a + 4096, 2 * 4096, MADV_REMOVE) == 0);
  CHECK(madvise(anonymous, 4096, MADV_REMOVE) == 0);
  CHECK(madvise(a + 8 * 4096, 4096, MADV_DONTNEED) == 0);
  CHECK(madvise(anonymous + 8 * 4096, 4096, MADV_DONTNEED) == 0);
  CHECK(a[4095] == 1 && a[4096] == 0 && b[2 * 4096] == 0 && b[3 * 4096] == 1);
  CHECK(a[8 * 4096] == 1 && anonymous[0] == 0 && anonymous[4096] == 2 && anonymous[8 * 4096] == 2);
  b[4096 + 5] = 3;
  unsigned sum = 0;
  for (size_t i = 0; i < size; i++) sum = sum * 31 + a[i] + anonymous[i];
  printf("%u\n", sum);
  return passed();
}
