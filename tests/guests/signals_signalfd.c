// build: -O1 -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "tasks.h"

int main(void) {
  sigset_t wanted;
  struct signalfd_siginfo info[4];
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  sigaddset(&wanted, SIGCHLD);
  sigaddset(&wanted, SIGRTMIN);
  CHECK(sigprocmask(SIG_BLOCK, &wanted, NULL) == 0);
  int fd = signalfd(-1, &wanted, SFD_NONBLOCK);
  CHECK(fd >= 0 && read(fd, info, sizeof info) == -1 && errno == EAGAIN);
  CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1}) == 0);
  CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 2}) == 0);
  CHECK(raise(SIGUSR1) == 0);
  CHECK(read(fd, info, sizeof info) == 3 * sizeof info[0]);
  CHECK(info[0].ssi_signo == SIGUSR1 && info[1].ssi_int == 1 && info[2].ssi_int == 2);
  pid_t child = forked();
  if (child == 0) {
    sleep_ms(5);
    _exit(4);
  }
  struct pollfd polled = {fd, POLLIN, 0};
  CHECK(poll(&polled, 1, -1) == 1 && read(fd, info, sizeof info) == sizeof info[0]);
  CHECK(info[0].ssi_signo == SIGCHLD && info[0].ssi_pid == (uint32_t)child);
  CHECK(info[0].ssi_status == 4 && status_of(child) == 4);
  return passed();
}
