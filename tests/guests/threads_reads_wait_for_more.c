// build: -O1 -pthread -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <termios.h>

#include "turns.h"

// Reads that wait until so much has come (SO_RCVLOWAT, VMIN), and have stored the first part of it
// while others compute.
enum { kPart = 5000, kLine = 100 };

static int stream[2], terminal;
static char all[2 * kPart], line[2 * kLine];

static void* receive_enough(void* argument) {
  CHECK(recv(stream[0], all, sizeof all, 0) == sizeof all);
  return argument;
}

static void* read_enough(void* argument) {
  // Some kernels count anew from each piece of 64 bytes that they have stored.
  for (size_t had = 0; had < sizeof line;) {
    ssize_t got = read(terminal, line + had, sizeof line - had);
    CHECK(got > 0);
    had += (size_t)got;
  }
  return argument;
}

int main(void) {
  static char part[kPart];
  int enough = sizeof all;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0);
  CHECK(setsockopt(stream[0], SOL_SOCKET, SO_RCVLOWAT, &enough, sizeof enough) == 0);
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  struct termios settings;
  CHECK(terminal >= 0 && tcgetattr(terminal, &settings) == 0);
  cfmakeraw(&settings);
  settings.c_cc[VMIN] = sizeof line;
  CHECK(tcsetattr(terminal, TCSANOW, &settings) == 0);
  pthread_t threads[] = {started(receive_enough, NULL), started(read_enough, NULL),
                         started(spin, NULL)};
  take_turns(5);
  for (int i = 0; i < 2; i++) {
    memset(part, 'a' + i, kPart);
    CHECK(write(stream[1], part, kPart) == kPart && write(master, part, kLine) == kLine);
    take_turns(5);
  }
  joined(threads[0]);
  joined(threads[1]);
  CHECK(all[0] == 'a' && all[kPart] == 'b' && line[kLine - 1] == 'a' && line[kLine] == 'b');
  done = 1;
  joined(threads[2]);
  return passed();
}
