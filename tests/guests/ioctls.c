// build: -O1
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "guest.h"

int main(void) {
  int ends[2], waiting = -1, on = 1;
  struct winsize size;
  CHECK(pipe(ends) == 0 && write(ends[1], "abc", 3) == 3);
  CHECK(ioctl(ends[0], FIONREAD, &waiting) == 0 && waiting == 3);
  CHECK(ioctl(ends[0], FIONBIO, &on) == 0 && (fcntl(ends[0], F_GETFL) & O_NONBLOCK) != 0);
  CHECK(ioctl(ends[0], TIOCGWINSZ, &size) == -1 && errno == ENOTTY);
  CHECK(isatty(ends[0]) == 0);
  return passed();
}
