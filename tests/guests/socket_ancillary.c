// build: -O1 -D_GNU_SOURCE
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "tasks.h"

// recvmsg with ancillary data of UDP: time stamps, packet info, TTL, errors' queue, truncation.
static int kinds(struct msghdr* message) {
  int seen = 0;
  for (struct cmsghdr* head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
    if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SO_TIMESTAMPNS) {
      struct timespec when;
      memcpy(&when, CMSG_DATA(head), sizeof when);
      CHECK(when.tv_sec > 1000000);
      seen |= 1;
    }
    if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(head), sizeof info);
      CHECK(info.ipi_addr.s_addr == htonl(INADDR_LOOPBACK));
      seen |= 2;
    }
    if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_TTL) {
      int ttl;
      memcpy(&ttl, CMSG_DATA(head), sizeof ttl);
      CHECK(ttl > 0 && ttl < 256);
      seen |= 4;
    }
    if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_TOS) seen |= 8;
    if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_RECVERR) {
      struct sock_extended_err error;
      memcpy(&error, CMSG_DATA(head), sizeof error);
      CHECK(error.ee_errno == ECONNREFUSED);
      seen |= 16;
    }
  }
  return seen;
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
  CHECK(bind(receiver, (void*)&address, sizeof address) == 0);
  CHECK(getsockname(receiver, (void*)&address, &length) == 0);
  CHECK(setsockopt(receiver, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0);
  CHECK(setsockopt(receiver, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
  CHECK(setsockopt(receiver, IPPROTO_IP, IP_RECVTTL, &on, sizeof on) == 0);
  CHECK(setsockopt(receiver, IPPROTO_IP, IP_RECVTOS, &on, sizeof on) == 0);
  CHECK(sendto(sender, "0123456789", 10, 0, (void*)&address, sizeof address) == 10);
  CHECK(sendto(sender, "second", 6, 0, (void*)&address, sizeof address) == 6);
  char control[512], first[3] = {0}, rest[5];
  struct sockaddr_in from;
  struct iovec parts[2] = {{first, 3}, {rest, 5}};
  struct msghdr message = {.msg_name = &from,
                           .msg_namelen = sizeof from,
                           .msg_iov = parts,
                           .msg_iovlen = 2,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
  CHECK(recvmsg(receiver, &message, MSG_TRUNC) == 10 && (message.msg_flags & MSG_TRUNC) != 0);
  CHECK(memcmp(first, "012", 3) == 0 && memcmp(rest, "34567", 5) == 0);
  CHECK(from.sin_port != 0 && kinds(&message) == 15);
  message.msg_controllen = 20, message.msg_namelen = sizeof from;
  CHECK(recvmsg(receiver, &message, 0) == 6 && (message.msg_flags & MSG_CTRUNC) != 0);
  // A refused datagram, told through the errors' queue.
  struct sockaddr_in closed = address;
  closed.sin_port = htons(9);
  CHECK(setsockopt(sender, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
  (void)!sendto(sender, "lost", 4, 0, (void*)&closed, sizeof closed);
  message.msg_controllen = sizeof control, message.msg_namelen = sizeof from;
  ssize_t got = -1;
  for (int i = 0; i < 100 && got < 0; i++) {
    message.msg_controllen = sizeof control;
    got = recvmsg(sender, &message, MSG_ERRQUEUE);
    if (got < 0) sleep_ms(1);
  }
  if (got >= 0) CHECK(kinds(&message) == 16 && (message.msg_flags & MSG_ERRQUEUE) != 0);
  // Many at once, with a time-out that runs out.
  for (int i = 0; i < 3; i++) {
    CHECK(sendto(sender, "abc", (size_t)i + 1, 0, (void*)&address, sizeof address) >= -1);
  }
  struct mmsghdr many[4] = {0};
  char texts[4][8];
  struct iovec each[4];
  for (int i = 0; i < 4; i++) {
    each[i] = (struct iovec){texts[i], 8};
    many[i].msg_hdr.msg_iov = &each[i], many[i].msg_hdr.msg_iovlen = 1;
  }
  struct timespec limit = {0, 20000000};
  int received = recvmmsg(receiver, many, 4, MSG_WAITFORONE, &limit);
  CHECK(received >= 2 && many[0].msg_len >= 1);
  // Segments of one send.
  int segment = 4;
  if (setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0) {
    while (recv(receiver, texts[0], 8, MSG_DONTWAIT) >= 0) continue;
    CHECK(sendto(sender, "aaaabbbbcc", 10, 0, (void*)&address, sizeof address) == 10);
    CHECK(recv(receiver, texts[0], 8, 0) == 4 && recv(receiver, texts[1], 8, 0) == 4);
    CHECK(recv(receiver, texts[2], 8, 0) == 2 && texts[2][0] == 'c');
  }
  return passed();
}
