// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <linux/random.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tasks.h"

// Requests that few programs make, which write where only a driver knows: recorded by what changed.
int main(void) {
  int entropy = -1, waiting = -1, random = open("/dev/urandom", O_RDONLY);
  if (random < 0) return skipped();
  CHECK(ioctl(random, RNDGETENTCNT, &entropy) == 0 && entropy >= 0);
  int udp = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq interface = {.ifr_name = "lo"};
  CHECK(ioctl(udp, SIOCGIFINDEX, &interface) == 0 && interface.ifr_ifindex >= 1);
  CHECK(ioctl(udp, SIOCGIFFLAGS, &interface) == 0);
  CHECK(ioctl(udp, SIOCOUTQ, &waiting) == 0 && waiting == 0);
  struct ifreq list[16];
  struct ifconf all = {.ifc_len = sizeof list, .ifc_req = list};
  CHECK(ioctl(udp, SIOCGIFCONF, &all) == 0 && all.ifc_len >= 0);
  CHECK(ioctl(random, 0x12345678, list) == -1);
  return passed();
}
