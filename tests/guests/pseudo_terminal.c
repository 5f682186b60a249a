// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "guest.h"

int main(void) {
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0) return skipped();
  CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
  int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
  struct termios mode;
  CHECK(slave >= 0 && isatty(slave) && tcgetattr(slave, &mode) == 0);
  mode.c_lflag &= ~(tcflag_t)ECHO;
  CHECK(tcsetattr(slave, TCSANOW, &mode) == 0);
  struct winsize size = {24, 80, 0, 0}, back;
  CHECK(ioctl(master, TIOCSWINSZ, &size) == 0 && ioctl(slave, TIOCGWINSZ, &back) == 0);
  CHECK(back.ws_col == 80);
  char line[20];
  CHECK(write(master, "hello\n", 6) == 6 && read(slave, line, sizeof line) == 6);
  return passed();
}
