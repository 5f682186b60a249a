// build: -O1
#include <fcntl.h>
#include <sys/mman.h>

#include "guest.h"

enum { kPage = 4096 };

int main(void) {
  char* area = mmap(NULL, 16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(area, 3, 16 * kPage);
  CHECK(madvise(area + 4 * kPage, 4 * kPage, MADV_DONTNEED) == 0);
  CHECK(area[3 * kPage] == 3 && area[4 * kPage] == 0 && area[8 * kPage] == 3);
  CHECK(madvise(area, 16 * kPage, MADV_WILLNEED) == 0);
  CHECK(madvise(area, 2 * kPage, MADV_DONTFORK) == 0);
  // A private file mapping reads as the file again.
  char text[2 * kPage];
  memset(text, 'f', sizeof text);
  write_file("backing", text, sizeof text);
  int fd = open("backing", O_RDONLY);
  char* file = mmap(NULL, sizeof text, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  file[10] = 'm';
  CHECK(madvise(file, kPage, MADV_DONTNEED) == 0 && file[10] == 'f');
  return passed();
}
