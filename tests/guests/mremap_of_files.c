// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

// Mappings of a file that grow, and so show more of it: shared and private, in place and elsewhere;
// of a file that has grown; and that move and shrink then, as the one mapping that they are.
enum { kPage = 4096, kPages = 10 };

static unsigned sum;

static void add(const char* at, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) sum = sum * 31 + (unsigned char)at[i];
}

static char* grow(char* at, size_t from, size_t to) {
  at = mremap(at, from * kPage, to * kPage, MREMAP_MAYMOVE);
  CHECK(at != MAP_FAILED);
  return at;
}

int main(void) {
  const int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  static char pages[kPages][kPage];
  for (int i = 0; i < kPages; i++) memset(pages[i], 'a' + i, kPage);
  CHECK(file >= 0 && write(file, pages, sizeof pages) == sizeof pages);
  // Only read: a view of what is written to the file.
  char* shared = mmap(NULL, kPage, PROT_READ, MAP_SHARED, file, 0);
  shared = grow(shared, 1, 6);
  CHECK(shared[5 * kPage] == 'f');
  add(shared, 6 * kPage);
  CHECK(pwrite(file, "new", 3, 3 * kPage) == 3 && shared[3 * kPage] == 'n');
  // Private, with a page of its own; then all of it elsewhere.
  char* own = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, kPage);
  own[kPage] = '!';
  own = grow(own, 2, 5);
  CHECK(own[0] == 'b' && own[kPage] == '!' && own[2 * kPage] == 'n' && own[4 * kPage] == 'f');
  char* place = mmap(NULL, 8 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  own = mremap(own, 5 * kPage, 5 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  CHECK(own == place && own[kPage] == '!' && own[4 * kPage] == 'f');
  own = mremap(own, 5 * kPage, 3 * kPage, 0);
  CHECK(own == place);
  add(own, 3 * kPage);
  // As sqlite does: the file grows, then its mapping, and what is written is seen.
  CHECK(ftruncate(file, 14 * kPage) == 0);
  shared = grow(shared, 6, 14);
  CHECK(shared[13 * kPage] == 0 && pwrite(file, "end", 3, 13 * kPage) == 3);
  CHECK(shared[13 * kPage] == 'e' && shared[9 * kPage] == 'j');
  add(shared, 14 * kPage);
  printf("%u\n", sum);
  return passed();
}
