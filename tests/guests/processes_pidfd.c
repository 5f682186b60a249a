// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>

#include "tasks.h"

static int pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int main(void) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0)
    for (;;) pause();
  int fd = pidfd_open(child);
  CHECK(fd >= 0);
  struct pollfd polled = {fd, POLLIN, 0};
  CHECK(poll(&polled, 1, 5) == 0);
  int end = (int)syscall(SYS_pidfd_getfd, fd, ends[1], 0);
  if (end >= 0) {  // needs the right to trace the child
    char byte;
    CHECK(write(end, "x", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 'x');
  }
  CHECK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0);
  CHECK(poll(&polled, 1, -1) == 1 && polled.revents == POLLIN);
  siginfo_t info;
  CHECK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED) == 0 && info.si_status == SIGTERM);
  CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == -1 && errno == ESRCH);
  return passed();
}
