// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tasks.h"

// splice, tee and vmsplice, also with pages that the program writes to after it gave them.
int main(void) {
  int one[2], two[2], sockets[2];
  CHECK(pipe(one) == 0 && pipe(two) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(page, "what the page says"), strcpy(page + 4096, "and the second");
  struct iovec parts[2] = {{page, 19}, {page + 4096, 15}};
  CHECK(vmsplice(one[1], parts, 2, 0) == 34);
  page[0] = 'W';  // the reader sees the page as it is when it reads
  char text[64] = {0};
  CHECK(tee(one[0], two[1], 100, SPLICE_F_NONBLOCK) == 34);
  CHECK(read(two[0], text, 64) == 34 && text[0] == 'W' && strcmp(text + 19, "and the second") == 0);
  CHECK(splice(one[0], NULL, sockets[0], NULL, 34, SPLICE_F_MOVE) == 34);
  memset(text, 0, sizeof text);
  CHECK(read(sockets[1], text, 64) == 34 && strcmp(text, "What the page says") == 0);
  // From a pipe into memory.
  CHECK(write(one[1], "abcdef", 6) == 6);
  struct iovec into[2] = {{text, 2}, {text + 32, 10}};
  CHECK(vmsplice(one[0], into, 2, 0) == 6);
  CHECK(memcmp(text, "ab", 2) == 0 && memcmp(text + 32, "cdef", 4) == 0);
  write_file("file", "0123456789", 10);
  int fd = open("file", O_RDWR);
  loff_t from = 3;
  CHECK(splice(fd, &from, one[1], NULL, 4, 0) == 4 && from == 7);
  CHECK(read(one[0], text, 64) == 4 && memcmp(text, "3456", 4) == 0);
  // Pages that are given away for good.
  char* gift = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(gift, 'g', 4096);
  struct iovec whole = {gift, 4096};
  CHECK(vmsplice(one[1], &whole, 1, SPLICE_F_GIFT) == 4096 && munmap(gift, 4096) == 0);
  CHECK(splice(one[0], NULL, fd, &(loff_t){0}, 4096, SPLICE_F_MOVE) == 4096);
  CHECK(pread(fd, text, 64, 4032) == 64 && text[63] == 'g');
  // A mapping of the file sees what was spliced into it.
  char* mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(mapped[17] == 'g' && write(one[1], "spliced", 7) == 7);
  CHECK(splice(one[0], NULL, fd, &(loff_t){100}, 7, 0) == 7);
  CHECK(memcmp(mapped + 100, "spliced", 7) == 0);
  // A child's vmsplice of memory it goes on to change.
  pid_t child = forked();
  if (child == 0) {
    for (int i = 0; i < 50; i++) {
      page[0] = (char)('a' + i % 26);
      struct iovec part = {page, 4096};
      CHECK(vmsplice(one[1], &part, 1, 0) == 4096);
      CHECK(read(two[0], text, 1) == 1);
    }
    _exit(0);
  }
  static char buffer[4096];
  for (int i = 0; i < 50; i++) {
    size_t done = 0;
    while (done < 4096) done += (size_t)read(one[0], buffer + done, 4096 - done);
    CHECK(buffer[0] == 'a' + i % 26 && write(two[1], "x", 1) == 1);
  }
  CHECK(status_of(child) == 0);
  return passed();
}
