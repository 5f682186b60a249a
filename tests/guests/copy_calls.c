// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/sendfile.h>

#include "guest.h"

// Calls that move data without the guest's memory.
int main(void) {
  char text[9000], back[9000];
  memset(text, 's', sizeof text);
  write_file("from", text, sizeof text);
  int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT | O_TRUNC, 0600), ends[2];
  CHECK(sendfile(to, from, NULL, 5000) == 5000);
  off_t offset = 100;
  CHECK(sendfile(to, from, &offset, 200) == 200 && offset == 300);
  loff_t in = 0, out = 6000;
  ssize_t copied = copy_file_range(from, &in, to, &out, 1000, 0);
  CHECK((copied == 1000 && in == 1000 && out == 7000) || copied == -1);
  CHECK(pipe(ends) == 0);
  in = 0;
  CHECK(splice(from, &in, ends[1], NULL, 4096, 0) > 0 && in > 0);
  CHECK(read(ends[0], back, sizeof back) == in && back[0] == 's');
  return passed();
}
