// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include "tasks.h"

// Memory written through /proc/self/mem and /proc/PID/mem: also what is not writable, code too.
static int number(void) { return 41; }
static int (*volatile pointer)(void) = number;
int main(void) {
  int fd = open("/proc/self/mem", O_RDWR);
  CHECK(fd >= 0);
  char text[32] = "to be changed";
  CHECK(pwrite(fd, "has been", 8, (off_t)(uintptr_t)text) == 8 &&
        strcmp(text, "has beenanged") == 0);
  char* constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(constant[7] == 0);
  CHECK(pwrite(fd, "forced", 6, (off_t)(uintptr_t)(constant + 7)) == 6 && constant[7] == 'f');
  unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
  CHECK(pointer() == 41);
  CHECK(pwrite(fd, code, sizeof code, (off_t)(uintptr_t)number) == sizeof code);
  CHECK(pointer() == 42);
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    char byte;
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0);
    _exit(pointer() + text[0]);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", child);
  fd = open(path, O_RDWR);
  CHECK(fd >= 0 && pread(fd, path, 8, (off_t)(uintptr_t)text) == 8 &&
        memcmp(path, "has been", 8) == 0);
  code[1] = 43;
  CHECK(pwrite(fd, code, sizeof code, (off_t)(uintptr_t)number) == sizeof code);
  CHECK(pwrite(fd, "\1", 1, (off_t)(uintptr_t)text) == 1);
  close(ends[1]);
  CHECK(status_of(child) == 44 && pointer() == 42);
  return passed();
}
