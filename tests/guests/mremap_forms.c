// build: -O1 -D_GNU_SOURCE
#include <sys/mman.h>

#include "tasks.h"

// mremap: grown in place and elsewhere, to a fixed place over another mapping, left behind empty,
// doubled; MAP_FIXED_NOREPLACE, MAP_GROWSDOWN, protections that come and go.
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
enum { kPage = 4096 };

static char* fresh(size_t pages) {
  char* at = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(at != MAP_FAILED);
  for (size_t i = 0; i < pages; i++) memset(at + i * kPage, (int)('a' + i), kPage);
  return at;
}

int main(void) {
  char* area = fresh(8);
  CHECK(munmap(area + 4 * kPage, 4 * kPage) == 0);
  area = mremap(area, 4 * kPage, 6 * kPage, 0);  // in place
  CHECK(area != MAP_FAILED && area[3 * kPage] == 'd' && area[5 * kPage] == 0);
  area[5 * kPage] = 'f';
  char* target = fresh(10);
  char* moved =
      mremap(area, 6 * kPage, 6 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target + 2 * kPage);
  CHECK(moved == target + 2 * kPage && moved[0] == 'a' && moved[5 * kPage] == 'f');
  CHECK(target[kPage] == 'b' && target[8 * kPage] == 'i');
  char* left = mremap(moved, 6 * kPage, 6 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
  if (left != MAP_FAILED) {
    CHECK(left[5 * kPage] == 'f' && moved[0] == 0 && moved[5 * kPage] == 0);
    moved[0] = 'n';
    CHECK(left[0] == 'a');
  }
  // A second view of shared memory, by an old length of zero.
  char* shared = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char* twin = mremap(shared, 0, 2 * kPage, MREMAP_MAYMOVE);
  CHECK(twin != MAP_FAILED);
  shared[kPage] = 's';
  CHECK(twin[kPage] == 's');
  twin[3] = 't';
  CHECK(shared[3] == 't' && munmap(shared, 2 * kPage) == 0 && twin[kPage] == 's');
  // Shared memory that grows and moves.
  int fd = memfd_create("grows", 0);
  CHECK(ftruncate(fd, 8 * kPage) == 0);
  char* file = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 * kPage);
  file[kPage] = '3';
  file = mremap(file, 2 * kPage, 6 * kPage, MREMAP_MAYMOVE);
  file[5 * kPage] = '7';
  char byte = 0;
  CHECK(file[kPage] == '3' && pread(fd, &byte, 1, 7 * kPage) == 1 && byte == '7');
  CHECK(mmap(file, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
        MAP_FAILED);
  CHECK(errno == EEXIST || errno == EOPNOTSUPP);
  // A mapping that grows downwards when it is touched below.
  char* room = fresh(64);
  CHECK(munmap(room, 64 * kPage) == 0);
  char* grows = mmap(room + 60 * kPage, kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  CHECK(grows == room + 60 * kPage);
  for (int i = 0; i < 20; i++) grows[-i * kPage + 5] = (char)i;
  for (int i = 0; i < 20; i++) CHECK(grows[-i * kPage + 5] == i);
  // Protections that split and join.
  char* toggled = fresh(5);
  for (int i = 0; i < 20; i++) {
    CHECK(mprotect(toggled + kPage, 3 * kPage, PROT_NONE) == 0);
    CHECK(mprotect(toggled + 2 * kPage, kPage, PROT_READ) == 0 && toggled[2 * kPage + 5] >= 'c');
    CHECK(mprotect(toggled, 5 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    toggled[2 * kPage + 5]++;
    CHECK(mprotect(toggled, 5 * kPage, PROT_READ | PROT_WRITE) == 0);
  }
  CHECK(toggled[2 * kPage + 5] == 'c' + 20);
  CHECK(mremap(toggled, kPage, 20 * kPage, 0) == MAP_FAILED && errno == ENOMEM);
  CHECK(mremap(toggled + 2 * kPage, 3 * kPage, kPage, 0) == toggled + 2 * kPage);
  CHECK(mprotect(toggled, 5 * kPage, PROT_READ) == -1 && errno == ENOMEM);
  return passed();
}
