// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>

#include "tasks.h"

// Descriptors that a fork shares: one file offset; flags; what closes on execve.
int main(void) {
  char text[16] = {0};
  int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(fd, "0123456789", 10) == 10 && lseek(fd, 2, SEEK_SET) == 2);
  pid_t child = forked();
  if (child == 0) {
    CHECK(read(fd, text, 3) == 3 && memcmp(text, "234", 3) == 0);
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0 && close(fd) == 0);
    _exit(0);
  }
  CHECK(status_of(child) == 0 && lseek(fd, 0, SEEK_CUR) == 5);
  CHECK((fcntl(fd, F_GETFL) & O_APPEND) != 0 && read(fd, text, 2) == 2 && text[0] == '5');
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  CHECK(fcntl(fd, F_SETLK, &lock) == 0);
  int ends[2];
  CHECK(pipe(ends) == 0);
  child = forked();
  if (child == 0) {
    CHECK(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK && lock.l_pid == getppid());
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK(write(ends[1], "x", 1) == 1);
    _exit(fcntl(fd, F_SETLKW, &lock) == 0 ? 6 : 7);
  }
  CHECK(read(ends[0], text, 1) == 1);
  sleep_ms(5);
  lock.l_type = F_UNLCK;
  CHECK(fcntl(fd, F_SETLK, &lock) == 0 && status_of(child) == 6);
  return passed();
}
