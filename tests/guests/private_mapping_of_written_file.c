// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "tasks.h"

enum { kPage = 4096, kPages = 4 };

// So that page snapshots come in between.
static void make_calls(void) {
  for (int i = 0; i < 2000; i++) CHECK(getppid() > 0);
}

// A private mapping shows what is written to its file, but for pages that the program has changed.
int main(void) {
  char text[kPages * kPage];
  memset(text, 'a', sizeof text);
  write_file("mapped", text, sizeof text);
  int file = open("mapped", O_RDWR);
  char* map = mmap(NULL, sizeof text, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  CHECK(map != MAP_FAILED && map[0] == 'a' && map[kPage] == 'a');
  map[kPage] = 'p';
  memset(text, 'b', sizeof text);
  CHECK(pwrite(file, text, 2 * kPage, 0) == 2 * kPage);
  CHECK(map[0] == 'b' && map[kPage] == 'p' && map[kPage + 1] == 'a' && map[2 * kPage] == 'a');
  make_calls();
  CHECK(lseek(file, 2 * kPage + 10, SEEK_SET) > 0 && write(file, text, 5) == 5);
  CHECK(map[2 * kPage + 9] == 'a' && map[2 * kPage + 10] == 'b' && map[2 * kPage + 15] == 'a');
  make_calls();
  pid_t child = forked();
  if (child == 0) {
    make_calls();
    CHECK(map[0] == 'b' && map[kPage] == 'p' && map[2 * kPage + 10] == 'b');
    CHECK(pwrite(file, "c", 1, 3 * kPage) == 1 && map[3 * kPage] == 'c');
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  make_calls();
  CHECK(map[3 * kPage] == 'c');
  CHECK(madvise(map, sizeof text, MADV_DONTNEED) == 0);
  CHECK(map[kPage] == 'b' && map[2 * kPage + 12] == 'b' && map[3 * kPage] == 'c');
  make_calls();
  CHECK(map[kPage] == 'b');
  return passed();
}
