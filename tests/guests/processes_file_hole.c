// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

enum { kPage = 4096, kPages = 16 };

// So that page snapshots come in between.
static void make_calls(void) {
  for (int i = 0; i < 2000; i++) CHECK(getppid() > 0);
}

static void wait_for(int from) {
  char byte;
  CHECK(read(from, &byte, 1) == 1);
}

static void go_on(int to) { CHECK(write(to, "x", 1) == 1); }

static unsigned char* privately(int file) {
  unsigned char* map = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, kPage);
  CHECK(map != MAP_FAILED && map[0] == 1 && map[13 * kPage] == 1);
  map[3 * kPage + 7] = 2;
  return map;
}

static void see_hole(const unsigned char* map) {
  CHECK(map[kPage - 1] == 1 && map[kPage] == 0 && map[3 * kPage - 1] == 0);
  CHECK(map[3 * kPage] == 1 && map[3 * kPage + 7] == 2 && map[4 * kPage] == 0);
  CHECK(map[9 * kPage - 1] == 0 && map[9 * kPage] == 1);
}

// Holes in a file that are made through a shared mapping show in private ones, of the process
// itself and of another one, but for pages that the program has changed.
int main(void) {
  const int file = memfd_create("holes", 0);
  CHECK(file >= 0 && ftruncate(file, (kPages + 1) * kPage) == 0);
  char page[kPage];
  memset(page, 1, sizeof page);
  for (int i = 0; i <= kPages; i++) CHECK(pwrite(file, page, kPage, (off_t)i * kPage) == kPage);
  int there[2], back[2];
  CHECK(pipe(there) == 0 && pipe(back) == 0);
  const pid_t child = forked();
  if (child == 0) {
    unsigned char* map = privately(file);
    go_on(back[1]);
    wait_for(there[0]);
    see_hole(map);
    make_calls();
    see_hole(map);
    _exit(0);
  }
  wait_for(back[0]);
  unsigned char* shared =
      mmap(NULL, (kPages + 1) * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(shared != MAP_FAILED);
  unsigned char* map = privately(file);
  make_calls();
  CHECK(madvise(shared + 2 * kPage, 8 * kPage, MADV_REMOVE) == 0);
  see_hole(map);
  go_on(there[1]);
  make_calls();
  see_hole(map);
  CHECK(status_of(child) == 0);
  CHECK(madvise(map, kPages * kPage, MADV_DONTNEED) == 0);
  CHECK(map[3 * kPage] == 0 && map[3 * kPage + 7] == 0 && map[9 * kPage] == 1);
  make_calls();
  CHECK(map[3 * kPage] == 0 && map[9 * kPage] == 1);
  return passed();
}
