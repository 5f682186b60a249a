// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>

#include "tasks.h"

// Threads with descriptors of their own close those of the standard streams; the others write on.
static void* closes(void* argument) {
  (void)argument;
  CHECK(syscall(SYS_close_range, 0, 2, CLOSE_RANGE_UNSHARE) == 0);
  CHECK(open("/dev/null", O_WRONLY) == 0 && open("/dev/null", O_WRONLY) == 1);
  CHECK(write(1, "not shown\n", 10) == 10);
  return NULL;
}

static void* unshares(void* argument) {
  (void)argument;
  CHECK(unshare(CLONE_FILES) == 0 && close(1) == 0 && open("/dev/null", O_WRONLY) == 1);
  CHECK(write(1, "not shown\n", 10) == 10);
  return NULL;
}

int main(void) {
  CHECK(write(1, "one\n", 4) == 4);
  joined(started(closes, NULL));
  CHECK(write(1, "two\n", 4) == 4);
  joined(started(unshares, NULL));
  CHECK(write(1, "three\n", 6) == 6);
  return passed();
}
