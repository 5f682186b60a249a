// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>

#include "tasks.h"

// Descriptors and credentials sent over a socket between processes (unix(7)); many messages at
// once.
static void send_with(int to, int fd) {
  char control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec part = {"fd", 2};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(head), &fd, sizeof fd);
  CHECK(sendmsg(to, &message, 0) == 2);
}

static int receive_with(int from, pid_t sender) {
  char control[256], text[8] = {0};
  int fd = -1;
  struct ucred who = {0};
  struct iovec part = {text, sizeof text};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 2 && strcmp(text, "fd") == 0);
  for (struct cmsghdr* head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(head), sizeof fd);
    if (head->cmsg_type == SCM_CREDENTIALS) memcpy(&who, CMSG_DATA(head), sizeof who);
  }
  CHECK(who.pid == sender && who.uid == getuid());
  return fd;
}

static void many(int socket, int sending) {
  char texts[8][16];
  struct iovec parts[8];
  struct mmsghdr messages[8] = {0};
  for (int i = 0; i < 8; i++) {
    snprintf(texts[i], 16, "message %d", i);
    if (!sending) memset(texts[i], 0, 16);
    parts[i] = (struct iovec){texts[i], sending ? (size_t)i + 3 : 16};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  if (sending) {
    CHECK(sendmmsg(socket, messages, 8, 0) == 8);
    return;
  }
  for (int done = 0; done < 8;) done += recvmmsg(socket, messages + done, 8 - done, 0, NULL);
  for (int i = 0; i < 8; i++) CHECK(messages[i].msg_len == (unsigned)i + 3 && texts[i][0] == 'm');
}

int main(void) {
  int sockets[2], on = 1;
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
  CHECK(setsockopt(sockets[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
  pid_t child = forked();
  if (child == 0) {
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "through", 7) == 7);
    send_with(sockets[1], ends[0]);
    many(sockets[1], 1);
    many(sockets[1], 0);
    _exit(0);
  }
  char text[16] = {0};
  int fd = receive_with(sockets[0], child);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(read(fd, text, sizeof text) == 7 && strcmp(text, "through") == 0);
  many(sockets[0], 0);
  many(sockets[0], 1);
  CHECK(status_of(child) == 0);
  return passed();
}
