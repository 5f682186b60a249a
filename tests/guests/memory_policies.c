// build: -O1 -D_GNU_SOURCE
#include <linux/mempolicy.h>
#include <sys/mman.h>

#include "tasks.h"

// mbind, get_mempolicy, move_pages, mincore, remap_file_pages, mseal, cachestat.
int main(void) {
  int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
  char* area = mmap(NULL, 16384, protection, flags, -1, 0);
  memset(area, 1, 16384);
  int mode = -1, status[4] = {-1, -1, -1, -1};
  unsigned long nodes[16] = {0};
  long result = syscall(SYS_get_mempolicy, &mode, nodes, 1024, NULL, 0);
  CHECK(result == 0 || errno == ENOSYS);
  if (result == 0) {
    CHECK(syscall(SYS_get_mempolicy, &mode, NULL, 0, area, MPOL_F_NODE | MPOL_F_ADDR) == 0);
    CHECK(mode >= 0 && syscall(SYS_mbind, area, 16384, MPOL_PREFERRED, NULL, 0, 0) == 0);
    CHECK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) == 0);
    CHECK(syscall(SYS_get_mempolicy, NULL, nodes, 1024, NULL, MPOL_F_MEMS_ALLOWED) == 0);
    void* pages[4] = {area, area + 4096, area + 8192, (void*)8192};
    CHECK(syscall(SYS_move_pages, 0, 4, pages, NULL, status, 0) == 0);
    CHECK(status[0] >= 0 && status[3] < 0);
    syscall(SYS_migrate_pages, 0, 64, nodes, nodes);
  }
  unsigned char resident[4];
  CHECK(mincore(area, 16384, resident) == 0 && (resident[3] & 1) == 1);
  CHECK(mincore((void*)4096, 4096, resident) == -1 && errno == ENOMEM);
  // Pages of a shared file out of order.
  int fd = memfd_create("pages", 0);
  CHECK(ftruncate(fd, 16384) == 0);
  char* window = mmap(NULL, 16384, protection, MAP_SHARED, fd, 0);
  for (int i = 0; i < 4; i++) window[i * 4096] = (char)('a' + i);
  if (remap_file_pages(window, 4096, 0, 3, 0) == 0) {
    CHECK(window[0] == 'd' && window[4096] == 'b');
    window[0] = 'X';
    CHECK(window[3 * 4096] == 'X');
  }
  char* sealed = mmap(NULL, 4096, protection, flags, -1, 0);
  if (syscall(462, sealed, 4096, 0) == 0) {
    CHECK(munmap(sealed, 4096) == -1 && errno == EPERM);
    CHECK(mprotect(sealed, 4096, PROT_READ) == -1 && errno == EPERM);
    CHECK(mmap(sealed, 4096, protection, flags | MAP_FIXED, -1, 0) == MAP_FAILED);
    sealed[5] = 5;
  }
  struct {
    uint64_t from, length;
  } range = {0, 16384};
  uint64_t statistics[5] = {0};
  if (syscall(451, fd, &range, statistics, 0) == 0) CHECK(statistics[0] <= 4);
  CHECK(madvise(area, 16384, MADV_COLD) == 0 || errno == EINVAL);
  CHECK(madvise(area, 16384, MADV_PAGEOUT) == 0 || errno == EINVAL);
  CHECK(madvise(area, 16384, 22 /* MADV_POPULATE_READ */) == 0 || errno == EINVAL);
  CHECK(madvise(area, 16384, 23 /* MADV_POPULATE_WRITE */) == 0 || errno == EINVAL);
  CHECK(madvise(area, 16384, MADV_MERGEABLE) == 0 || errno == EINVAL);
  CHECK(madvise(area, 16384, MADV_HUGEPAGE) == 0 || errno == EINVAL);
  CHECK(madvise(area, 16384, MADV_DONTDUMP) == 0 && madvise(area, 16384, MADV_DODUMP) == 0);
  CHECK(madvise(area, 16384, MADV_SEQUENTIAL) == 0 && area[16383] == 1);
  return passed();
}
