// build: -O1 -D_GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tasks.h"

// getsockopt in its many shapes, TCP_INFO and credentials among them; addresses that are cut.
static int int_option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  CHECK(getsockopt(fd, level, name, &value, &length) == 0 && length == sizeof value);
  return value;
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (void*)&address, sizeof address) == 0 && listen(listener, 5) == 0);
  CHECK(getsockname(listener, (void*)&address, &length) == 0 && address.sin_port != 0);
  CHECK(connect(client, (void*)&address, sizeof address) == 0);
  struct sockaddr_in peer;
  length = 4;  // cut
  memset(&peer, 0, sizeof peer);
  int server = accept4(listener, (void*)&peer, &length, SOCK_CLOEXEC);
  CHECK(server >= 0 && length == sizeof peer && peer.sin_addr.s_addr == 0 && peer.sin_port != 0);
  CHECK(write(client, "hello", 5) == 5);
  struct tcp_info info;
  memset(&info, 0xee, sizeof info);
  length = sizeof info;
  CHECK(getsockopt(server, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && length >= 100);
  CHECK(info.tcpi_state == TCP_ESTABLISHED && info.tcpi_snd_mss > 0);
  char congestion[16] = {0};
  length = sizeof congestion;
  CHECK(getsockopt(client, IPPROTO_TCP, TCP_CONGESTION, congestion, &length) == 0);
  CHECK(congestion[0] != 0 && int_option(client, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
  CHECK(int_option(listener, SOL_SOCKET, SO_ACCEPTCONN) == 1);
  CHECK(int_option(client, SOL_SOCKET, SO_ERROR) == 0);
  CHECK(int_option(client, SOL_SOCKET, SO_RCVBUF) > 0);
  int on = 1;
  CHECK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  CHECK(int_option(client, IPPROTO_TCP, TCP_NODELAY) == 1);
  struct linger linger = {1, 3}, linger_seen = {0};
  length = sizeof linger_seen;
  CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
  CHECK(getsockopt(client, SOL_SOCKET, SO_LINGER, &linger_seen, &length) == 0);
  CHECK(linger_seen.l_linger == 3);
  // Room that only the caller believes in.
  int type = 0;
  length = INT32_MAX;
  CHECK(getsockopt(client, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM);
  CHECK(length == sizeof type);
  struct timeval limit = {0, 30000}, limit_seen;
  length = sizeof limit_seen;
  CHECK(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  CHECK(getsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit_seen, &length) == 0);
  char byte;
  CHECK(limit_seen.tv_usec > 0 && recv(client, &byte, 1, 0) == -1 && errno == EAGAIN);
  // Bytes outside the band.
  CHECK(send(client, "!", 1, MSG_OOB) == 1);
  char text[16];
  CHECK(recv(server, text, 16, MSG_PEEK) == 5 && recv(server, text, 16, 0) == 5);
  CHECK(recv(server, &byte, 1, MSG_OOB) == 1 && byte == '!');
  // Interfaces by ioctl.
  struct ifconf list;
  char room[1024];
  list.ifc_len = sizeof room, list.ifc_buf = room;
  CHECK(ioctl(client, SIOCGIFCONF, &list) == 0 && list.ifc_len >= 0);
  struct ifreq request = {.ifr_name = "lo"};
  if (ioctl(client, SIOCGIFINDEX, &request) == 0) {
    CHECK(request.ifr_ifindex > 0 && ioctl(client, SIOCGIFFLAGS, &request) == 0);
    CHECK((request.ifr_flags & IFF_LOOPBACK) != 0 && ioctl(client, SIOCGIFMTU, &request) == 0);
  }
  // A pair knows who is at the other end.
  int pair[2];
  struct ucred who;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  length = sizeof who;
  CHECK(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.pid == getpid());
  // Abstract names.
  struct sockaddr_un name = {.sun_family = AF_UNIX}, name_seen;
  int local = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK(bind(local, (void*)&name, sizeof name.sun_family) == 0);
  length = sizeof name_seen;
  CHECK(getsockname(local, (void*)&name_seen, &length) == 0 && length == 8);
  CHECK(sendto(pair[0], "x", 1, 0, NULL, 0) == 1);
  return passed();
}
