// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// What cuts a mapped file off, by path or when it is opened: pages come and go, here and in a
// child.
enum { kPage = 4096, kPages = 4 };
static sigjmp_buf back;
static char text[kPages * kPage];

static void on_bus(int number) {
  (void)number;
  siglongjmp(back, 1);
}

static int faults(const char* at) {
  if (sigsetjmp(back, 1) != 0) return 1;
  (void)*(const volatile char*)at;
  return 0;
}

static void make_calls(void) {
  for (int i = 0; i < 500; i++) CHECK(getppid() > 0);
}

static void check(const char* shared, const char* alone, int pages) {
  make_calls();
  for (int i = 0; i < kPages; i++) {
    CHECK(faults(shared + i * kPage) == (i >= pages));
    CHECK(faults(alone + i * kPage) == (i >= pages));
  }
}

int main(void) {
  signal(SIGBUS, on_bus);
  memset(text, 'a', sizeof text);
  write_file("mapped", text, sizeof text);
  int fd = open("mapped", O_RDWR);
  char* shared = mmap(NULL, sizeof text, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* alone = mmap(NULL, sizeof text, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(shared != MAP_FAILED && alone != MAP_FAILED && shared[kPage] == 'a');
  check(shared, alone, kPages);
  CHECK(truncate("mapped", kPage + 10) == 0);
  check(shared, alone, 2);
  CHECK(shared[kPage + 9] == 'a' && shared[kPage + 10] == 0);
  // To the size that it has; what was stored behind its end may vanish.
  shared[kPage + 20] = 'x';
  CHECK(ftruncate(fd, kPage + 10) == 0);
  make_calls();
  printf("%d\n", shared[kPage + 20]);
  CHECK(truncate("mapped", sizeof text) == 0);
  check(shared, alone, kPages);
  CHECK(shared[kPage + 9] == 'a' && shared[2 * kPage] == 0 && alone[2 * kPage] == 0);
  for (int i = 0; i < 20; i++) CHECK(ftruncate(fd, sizeof text) == 0);
  shared[3 * kPage] = 'b';
  close(open("mapped", O_RDWR | O_TRUNC));
  check(shared, alone, 0);
  CHECK(pwrite(fd, "c", 1, 2 * kPage) == 1);
  check(shared, alone, 3);
  CHECK(shared[2 * kPage] == 'c' && shared[0] == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(truncate("mapped", kPage) == 0);
    check(shared, alone, 1);
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  check(shared, alone, 1);
  close(creat("mapped", 0600));
  check(shared, alone, 0);
  return passed();
}
