// build: -O1 -D_GNU_SOURCE
#include <linux/io_uring.h>

#include "refusals.h"

// A program that falls back on plain calls where there is no io_uring, nor AIO.
int main(void) {
  struct io_uring_params params = {0};
  unsigned long context = 0;
  int recorded_now = recorded();
  REFUSED(syscall(SYS_io_uring_setup, 4, &params), ENOSYS);
  REFUSED(syscall(SYS_io_setup, 4, &context), ENOSYS);
  return passed();
}
