// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tasks.h"

// fcntl: locks of two processes, open file locks, leases, owners, pipes' sizes, hints.
static volatile int broken;
static void on_break(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  broken = info->si_fd;
}

int main(void) {
  write_file("file", "0123456789", 10);
  int fd = open("file", O_RDWR), ends[2], sockets[2];
  CHECK(pipe(ends) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  struct flock lock = {.l_type = F_WRLCK, .l_start = 2, .l_len = 3};
  CHECK(fcntl(fd, F_SETLK, &lock) == 0);
  pid_t child = forked();
  if (child == 0) {
    struct flock asked = {.l_type = F_WRLCK, .l_start = 0, .l_len = 10};
    CHECK(fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type == F_WRLCK && asked.l_start == 2);
    CHECK(asked.l_len == 3 && asked.l_pid == getppid());
    asked = (struct flock){.l_type = F_WRLCK, .l_start = 0, .l_len = 10};
    CHECK(fcntl(fd, F_SETLK, &asked) == -1 && (errno == EAGAIN || errno == EACCES));
    CHECK(write(ends[1], "x", 1) == 1);
    asked.l_pid = 0;
    CHECK(fcntl(fd, F_SETLKW, &asked) == 0);
    _exit(4);
  }
  char byte;
  CHECK(read(ends[0], &byte, 1) == 1);
  sleep_ms(3);
  lock.l_type = F_UNLCK;
  CHECK(fcntl(fd, F_SETLK, &lock) == 0 && status_of(child) == 4);

  int other = open("file", O_RDWR);
  struct flock open_lock = {.l_type = F_WRLCK, .l_len = 5}, seen = {.l_type = F_RDLCK, .l_len = 1};
  CHECK(fcntl(fd, F_OFD_SETLK, &open_lock) == 0);
  CHECK(fcntl(other, F_OFD_GETLK, &seen) == 0 && seen.l_type == F_WRLCK && seen.l_pid == -1);
  open_lock.l_type = F_UNLCK;
  CHECK(fcntl(fd, F_OFD_SETLK, &open_lock) == 0 && close(other) == 0);

  CHECK(fcntl(ends[0], F_SETPIPE_SZ, 8192) == 8192 && fcntl(ends[1], F_GETPIPE_SZ) == 8192);
  struct f_owner_ex owner = {F_OWNER_PID, getpid()}, found = {0};
  CHECK(fcntl(sockets[0], F_SETOWN_EX, &owner) == 0);
  CHECK(fcntl(sockets[0], F_GETOWN_EX, &found) == 0 && found.pid == getpid());
  CHECK(fcntl(sockets[0], F_GETOWN) == getpid() && fcntl(sockets[0], F_SETSIG, SIGRTMIN) == 0);
  CHECK(fcntl(sockets[0], F_GETSIG) == SIGRTMIN);
  uint64_t hint = 0;
  if (fcntl(fd, 1036 /* F_SET_RW_HINT */, &(uint64_t){2}) == 0) {
    CHECK(fcntl(fd, 1035 /* F_GET_RW_HINT */, &hint) == 0 && hint == 2);
  }
  // A signal for each socket that can be read, with the descriptor.
  struct sigaction action = {.sa_sigaction = on_break, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGRTMIN, &action, NULL) == 0 && sigaction(SIGIO, &action, NULL) == 0);
  CHECK(fcntl(sockets[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
  CHECK(write(sockets[1], "data", 4) == 4 && broken == sockets[0]);
  broken = 0;
  // A lease that another process's open breaks.
  CHECK(close(fd) == 0 && (fd = open("file", O_RDONLY)) >= 0);
  CHECK(fcntl(fd, F_SETSIG, SIGRTMIN) == 0);
  if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    CHECK(fcntl(fd, F_GETLEASE) == F_RDLCK);
    child = forked();
    if (child == 0) _exit(open("file", O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK);
    CHECK(status_of(child) == 1 && broken == fd);
    CHECK(fcntl(fd, F_SETLEASE, F_UNLCK) == 0);
  }
  // Notes of changes in a folder (dnotify).
  int folder = open(".", O_RDONLY | O_DIRECTORY);
  broken = 0;
  CHECK(fcntl(folder, F_SETSIG, SIGRTMIN) == 0);
  if (fcntl(folder, F_NOTIFY, DN_CREATE) == 0) {
    CHECK(creat("made", 0600) >= 0 && broken == folder);
  }
  return passed();
}
