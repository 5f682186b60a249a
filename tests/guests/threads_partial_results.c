// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/socket.h>

#include "turns.h"

// Calls that have stored a part of what they will, and wait for the rest, while others compute.
enum { kPart = 5000, kMessages = 3 };

static int stream[2], datagrams[2];
static char all[2 * kPart];
static char texts[kMessages][kPart];

static void* receive_all(void* argument) {
  CHECK(recv(stream[0], all, sizeof all, MSG_WAITALL) == sizeof all);
  return argument;
}

static void* receive_messages(void* argument) {
  struct iovec parts[kMessages];
  struct mmsghdr messages[kMessages] = {0};
  for (int i = 0; i < kMessages; i++) {
    parts[i] = (struct iovec){texts[i], kPart};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  CHECK(recvmmsg(datagrams[0], messages, kMessages, 0, NULL) == kMessages);
  for (int i = 0; i < kMessages; i++) CHECK(messages[i].msg_len == kPart);
  return argument;
}

int main(void) {
  static char part[kPart];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
  pthread_t threads[] = {started(receive_all, NULL), started(receive_messages, NULL),
                         started(spin, NULL)};
  take_turns(5);
  for (int i = 0; i < kMessages; i++) {
    memset(part, 'a' + i, kPart);
    if (i != 1) CHECK(write(stream[1], part, kPart) == kPart);
    CHECK(write(datagrams[1], part, kPart) == kPart);
    take_turns(5);
  }
  joined(threads[0]);
  joined(threads[1]);
  CHECK(all[0] == 'a' && all[kPart] == 'c' && texts[1][0] == 'b' && texts[2][kPart - 1] == 'c');
  done = 1;
  joined(threads[2]);
  started(receive_all, NULL);  // which still waits at the end
  sleep_ms(2);
  memset(part, 'x', kPart);
  CHECK(write(stream[1], part, kPart) == kPart);
  sleep_ms(2);
  return passed();
}
