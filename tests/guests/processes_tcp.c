// build: -O1 -D_GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "tasks.h"

// A server with a process for each client, over loopback; UDP with addresses.
static int tcp(struct sockaddr_in* at) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  return fd;
}

static void client(const struct sockaddr_in* where, int number) {
  struct sockaddr_in unused;
  char text[32], back[32] = {0};
  int fd = tcp(&unused), size = snprintf(text, sizeof text, "client %d", number);
  CHECK(connect(fd, (const struct sockaddr*)where, sizeof *where) == 0);
  for (int i = 0; i < 20; i++) {
    CHECK(send(fd, text, (size_t)size, 0) == size && recv(fd, back, sizeof back, 0) == size);
    CHECK(memcmp(text, back, (size_t)size) == 0);
  }
  CHECK(shutdown(fd, SHUT_WR) == 0 && recv(fd, back, 1, 0) == 0);
  _exit(0);
}

static void echo(int fd) {
  char text[32];
  ssize_t size;
  while ((size = recv(fd, text, sizeof text, 0)) > 0)
    CHECK(send(fd, text, (size_t)size, 0) == size);
  _exit(size == 0 ? 0 : 1);
}

int main(void) {
  struct sockaddr_in where, from;
  socklen_t size = sizeof where;
  int listener = tcp(&where);
  pid_t children[8];
  CHECK(bind(listener, (struct sockaddr*)&where, size) == 0 && listen(listener, 8) == 0);
  CHECK(getsockname(listener, (struct sockaddr*)&where, &size) == 0 && where.sin_port != 0);
  for (int i = 0; i < 4; i++)
    if ((children[i] = forked()) == 0) client(&where, i);
  for (int i = 0; i < 4; i++) {
    int fd = accept4(listener, (struct sockaddr*)&from, &size, SOCK_CLOEXEC);
    CHECK(fd >= 0 && from.sin_family == AF_INET);
    if ((children[4 + i] = forked()) == 0) echo(fd);
    CHECK(close(fd) == 0);
  }
  for (int i = 0; i < 8; i++) CHECK(status_of(children[i]) == 0);
  return passed();
}
