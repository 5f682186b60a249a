// build: -O1
#include <fcntl.h>
#include <limits.h>

#include "guest.h"

static size_t slurp(const char* path, char* text, size_t size) {
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  size_t length = 0;
  for (ssize_t got; (got = read(fd, text + length, size - 1 - length)) > 0;) length += (size_t)got;
  text[length] = 0;
  CHECK(close(fd) == 0);
  return length;
}

int main(void) {
  static char text[100000];
  char path[PATH_MAX + 1] = "";
  CHECK(slurp("/proc/self/maps", text, sizeof text) > 0);
  CHECK(strstr(text, "proc_self") != NULL && strstr(text, "[stack]") != NULL);
  CHECK(slurp("/proc/self/cmdline", text, sizeof text) > 0 && strstr(text, "proc_self") != NULL);
  CHECK(slurp("/proc/self/stat", text, sizeof text) > 0);
  CHECK(atoi(text) == getpid());
  CHECK(readlink("/proc/self/exe", path, PATH_MAX) > 0 && strstr(path, "proc_self") != NULL);
  return passed();
}
