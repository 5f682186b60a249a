// build: -O2 -D_GNU_SOURCE
// args: 24
// status: 5
#include <sys/mman.h>

#include "tasks.h"

// A parent with so many MiB, and descendants that change little of their copies: page snapshots of
// theirs have most pages in common. All compute on, with calls; a child is forked when the parent
// has changed what its snapshots had, another one by the first child, and one has less memory.
enum { kPageBytes = 4096, kRounds = 8 };

static uint64_t *memory, pages;

static uint64_t* page_at(uint64_t index) { return memory + index % pages * (kPageBytes / 8); }

static uint64_t expected(uint64_t page) { return page * 0x9e3779b97f4a7c15ull; }

// Changes some pages, and comes by calls behind which snapshots are taken.
static void change(uint64_t self, uint64_t first) {
  for (uint64_t round = 0; round < kRounds; round++) {
    for (uint64_t i = 0; i < 20; i++) {
      uint64_t* page = page_at(first + i * 101);
      page[1 + (round + i) % 8] += self * 1000 + round;
      if (i % 5 == 0) memset(page + 256, (int)(self + round), kPageBytes / 2);
    }
    volatile uint64_t sink = computed(3000000);
    (void)sink;
    getppid();
  }
}

static uint64_t sum(uint64_t count) {
  uint64_t sum = 0;
  for (uint64_t page = 0; page < count; page++) {
    CHECK(page_at(page)[0] == expected(page));
    for (uint64_t word = 1; word < 9; word++) sum += page_at(page)[word] * (page + word);
  }
  return sum;
}

static void child(uint64_t self) {
  change(self, 3 * self);
  if (self == 1) {
    pid_t grandchild = forked();
    if (grandchild == 0) {
      change(7, 5);
      printf("grandchild %llx\n", (unsigned long long)sum(pages));
      fflush(stdout);
      _exit(0);
    }
    change(self, 9);
    CHECK(status_of(grandchild) == 0);
  }
  if (self == 2) {
    // Pages that its parent has and it has not: gone, and as they began.
    CHECK(munmap(page_at(pages / 2), pages / 4 * kPageBytes) == 0);
    CHECK(madvise(page_at(pages / 4), 10 * kPageBytes, MADV_DONTNEED) == 0);
    for (uint64_t i = 0; i < 10; i++) CHECK(page_at(pages / 4 + i)[0] == 0);
    page_at(pages / 4)[3] = 1;
    pages /= 4;
    change(self, 1);
  }
  printf("child %d %llx\n", (int)self, (unsigned long long)sum(pages));
  fflush(stdout);
  _exit(10 + (int)self);
}

int main(int argc, char** argv) {
  CHECK(argc == 2);
  pages = (uint64_t)atol(argv[1]) * (1 << 20) / kPageBytes;
  memory =
      mmap(NULL, pages * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  for (uint64_t page = 0; page < pages; page++) {
    for (uint64_t word = 0; word < 64; word++) page_at(page)[word] = expected(page) << word % 5;
  }
  change(0, 0);
  for (uint64_t self = 1; self < 3; self++) {
    page_at(500)[40] += self;
    pid_t started = forked();
    if (started == 0) child(self);
    change(3 + self, 200);
    CHECK(status_of(started) == 10 + (int)self);
  }
  printf("parent %llx\n", (unsigned long long)sum(pages));
  passed();
  return 5;
}
