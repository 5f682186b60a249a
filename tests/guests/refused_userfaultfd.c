// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>

#include "refusals.h"

#define NEW_USERFAULTFD 0xaa00  // USERFAULTFD_IOC_NEW, of /dev/userfaultfd (6.1)

int main(void) {
  int recorded_now = recorded();
  REFUSED(syscall(SYS_userfaultfd, 0), ENOSYS);
  int device = open("/dev/userfaultfd", O_RDWR);
  REFUSED(ioctl(device, NEW_USERFAULTFD, 0), EPERM);
  return passed();
}
