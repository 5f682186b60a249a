// build: -O1 -D_GNU_SOURCE
#include <sys/socket.h>
#include <sys/un.h>

#include "guest.h"

int main(void) {
  int pair[2];
  char back[100] = "", more[100] = "";
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
  CHECK(send(pair[0], "message", 8, 0) == 8 && recv(pair[1], back, 100, 0) == 8);
  CHECK(strcmp(back, "message") == 0);
  struct iovec parts[2] = {{back, 4}, {more, 50}};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr header = {.msg_iov = parts,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
  // A descriptor travels along.
  struct cmsghdr* entry = CMSG_FIRSTHDR(&header);
  entry->cmsg_level = SOL_SOCKET;
  entry->cmsg_type = SCM_RIGHTS;
  entry->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(entry), &pair[0], sizeof(int));
  CHECK(sendmsg(pair[0], &header, 0) == 4);
  memset(&control, 0, sizeof control);
  header.msg_iovlen = 2;
  CHECK(recvmsg(pair[1], &header, 0) == 4);
  entry = CMSG_FIRSTHDR(&header);
  CHECK(entry != NULL && entry->cmsg_type == SCM_RIGHTS);
  int received;
  memcpy(&received, CMSG_DATA(entry), sizeof received);
  CHECK(received > 2 && send(received, "y", 1, 0) == 1);
  CHECK(recv(pair[1], back, 100, MSG_DONTWAIT) == 1 && back[0] == 'y');
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  CHECK(getsockname(pair[0], (struct sockaddr*)&name, &length) == 0);
  int size;
  length = sizeof size;
  CHECK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size > 0);
  CHECK(recv(pair[1], back, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
  return passed();
}
