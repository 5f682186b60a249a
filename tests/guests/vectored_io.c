// build: -O1
#include <fcntl.h>
#include <sys/uio.h>

#include "guest.h"

int main(void) {
  char a[3] = "abc", b[5] = "defgh", c[4] = "ijkl";
  struct iovec out[] = {{a, 3}, {b, 5}, {c, 0}, {c, 4}};
  int fd = open("vectored", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(writev(fd, out, 4) == 12);
  char x[5] = "", y[20] = "";
  struct iovec in[] = {{x, 4}, {y, 19}};
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(readv(fd, in, 2) == 12);
  CHECK(strcmp(x, "abcd") == 0 && strcmp(y, "efghijkl") == 0);
  CHECK(preadv(fd, in, 2, 8) == 4 && memcmp(x, "ijkl", 4) == 0);
  CHECK(pwritev(fd, out, 1, 30) == 3);
  // A bad buffer in the middle: what came before it counts.
  struct iovec bad[] = {{x, 4}, {(void*)16, 4}};
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(readv(fd, bad, 2) == 4);
  return passed();
}
