// build: -O1 -D_GNU_SOURCE
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tasks.h"

// Netlink: a dump of interfaces, sockets by sock_diag, and libc's ways to the same.
int main(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return skipped();
  struct {
    struct nlmsghdr head;
    struct ifinfomsg info;
  } request = {.head = {.nlmsg_len = sizeof request,
                        .nlmsg_type = RTM_GETLINK,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                        .nlmsg_seq = 1}};
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  CHECK(sendto(fd, &request, sizeof request, 0, (void*)&kernel, sizeof kernel) > 0);
  static char room[65536] __attribute__((aligned(16)));
  int links = 0, done = 0;
  unsigned long sum = 0;
  while (!done) {
    struct iovec part = {room, sizeof room};
    struct msghdr message = {
        .msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t bytes = recvmsg(fd, &message, 0);
    CHECK(bytes > 0);
    for (ssize_t i = 0; i < bytes; i++) sum = sum * 31 + (unsigned char)room[i];
    for (struct nlmsghdr* head = (void*)room; NLMSG_OK(head, bytes);
         head = NLMSG_NEXT(head, bytes)) {
      if (head->nlmsg_type == NLMSG_DONE) done = 1;
      links += head->nlmsg_type == RTM_NEWLINK;
    }
  }
  CHECK(links >= 1 && sum != 0);
  struct sockaddr_nl own;
  socklen_t length = sizeof own;
  CHECK(getsockname(fd, (void*)&own, &length) == 0 && own.nl_pid != 0 && close(fd) == 0);

  struct ifaddrs* list = NULL;
  CHECK(getifaddrs(&list) == 0);
  freeifaddrs(list);
  struct if_nameindex* names = if_nameindex();
  CHECK(names != NULL);
  if_freenameindex(names);
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
  CHECK(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0 && found != NULL);
  freeaddrinfo(found);
  (void)getaddrinfo("localhost", "http", &hints, &found);

  fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return passed();
  struct {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
  } sockets = {
      .head = {.nlmsg_len = sizeof sockets,
               .nlmsg_type = SOCK_DIAG_BY_FAMILY,
               .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
               .nlmsg_seq = 2},
      .body = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u}};
  CHECK(send(fd, &sockets, sizeof sockets, 0) > 0);
  CHECK(recv(fd, room, sizeof room, 0) > 0);
  return passed();
}
