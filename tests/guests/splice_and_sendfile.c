// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tasks.h"

// Bytes that go from file to file, through pipes and sockets, without the program's memory; one
// target is mapped, so that the kernel changes memory by it.
int main(void) {
  char text[64] = {0};
  int ends[2], more[2], sockets[2];
  write_file("from", "0123456789abcdefghij", 20);
  int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(pipe(ends) == 0 && pipe(more) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  CHECK(ftruncate(to, 4096) == 0);
  volatile char* mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
  CHECK(mapped != MAP_FAILED && mapped[0] == 0);
  off_t offset = 10, at = 0;
  CHECK(sendfile(to, from, &offset, 5) == 5 && offset == 15);
  CHECK(mapped[0] == 'a' && mapped[4] == 'e' && mapped[5] == 0);
  CHECK(copy_file_range(from, &at, to, NULL, 4, 0) == 4 && mapped[5] == '0' && mapped[8] == '3');
  CHECK(splice(from, &at, ends[1], NULL, 6, 0) == 6 && at == 10);
  CHECK(tee(ends[0], more[1], 100, 0) == 6 && read(more[0], text, 64) == 6 && text[0] == '4');
  CHECK(splice(ends[0], NULL, to, NULL, 100, 0) == 6 && mapped[9] == '4' && mapped[14] == '9');
  struct iovec part = {"vmsplice", 8};
  CHECK(vmsplice(ends[1], &part, 1, 0) == 8);
  CHECK(splice(ends[0], NULL, sockets[0], NULL, 8, 0) == 8);
  memset(text, 0, sizeof text);
  CHECK(recv(sockets[1], text, 64, 0) == 8 && strcmp(text, "vmsplice") == 0);
  offset = 0;
  CHECK(sendfile(sockets[0], from, &offset, 20) == 20 && recv(sockets[1], text, 64, 0) == 20);
  return passed();
}
