// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include "tasks.h"

// Programs from a descriptor, from memory, deleted ones; chains of interpreters; long arguments.
static int run(int how, int fd, char** arguments) {
  pid_t child = forked();
  if (child == 0) {
    char* environment[] = {"STAGE=2", NULL};
    if (how == 0) fexecve(fd, arguments, environment);
    if (how == 1) syscall(SYS_execveat, fd, "", arguments, environment, 0x1000);
    if (how == 2) syscall(SYS_execveat, AT_FDCWD, "copy", arguments, environment, 0);
    if (how == 3) execve("./script", arguments, environment);
    if (how == 4) execve("./outer", arguments, environment);
    _exit(90 + (errno == E2BIG) + 2 * (errno == ENOENT) + 4 * (errno == ENOEXEC));
  }
  return status_of(child);
}

static int stage_two(int count, char** arguments) {
  size_t total = 0;
  for (int i = 0; i < count; i++) total += strlen(arguments[i]);
  CHECK(getauxval(AT_EXECFN) != 0 && getauxval(AT_RANDOM) != 0);
  return (int)(total % 50) + count % 10;
}

int main(int count, char** arguments) {
  if (getenv("STAGE") != NULL) return stage_two(count, arguments);
  int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat about;
  CHECK(fstat(self, &about) == 0);
  char* few[] = {"guest", "one", "two", NULL};  // 11 bytes, 3
  CHECK(run(0, self, few) == 14 && run(1, self, few) == 14);
  int copy = open("copy", O_CREAT | O_WRONLY, 0700);
  CHECK(sendfile(copy, self, NULL, (size_t)about.st_size) == about.st_size && close(copy) == 0);
  CHECK(run(2, -1, few) == 14);
  copy = open("copy", O_RDONLY);
  CHECK(unlink("copy") == 0 && run(1, copy, few) == 14);
  int memory = memfd_create("program", MFD_CLOEXEC);
  CHECK(sendfile(memory, self, &(off_t){0}, (size_t)about.st_size) == about.st_size);
  CHECK(run(0, memory, few) == 14);
  char path[4096] = {0}, text[5000];
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  snprintf(text, sizeof text, "#!%s arg\n", path);
  write_file("script", text, strlen(text));
  CHECK(chmod("script", 0700) == 0);
  int of_script = run(3, -1, few);
  CHECK(of_script == (int)((strlen(path) + 3 + 8 + 6) % 50) + 5);
  write_file("outer", "#! ./script  two words \n", 24);
  CHECK(chmod("outer", 0700) == 0);
  int of_outer = run(4, -1, few);
  CHECK(of_outer == (int)((strlen(path) + 3 + 8 + 9 + 7 + 6) % 50) + 7);
  write_file("script", "no header\n", 10);
  CHECK(chmod("script", 0700) == 0 && run(3, -1, few) == 94);
  write_file("script", "#!/no/such/program\n", 19);
  CHECK(chmod("script", 0700) == 0 && run(3, -1, few) == 92);
  // A hundred thousand bytes of arguments, and too many.
  static char* many[2002];
  static char one[100] = {0};
  memset(one, 'x', 99);
  for (int i = 0; i < 2000; i++) many[i] = one;
  CHECK(run(0, self, many) == (int)(2000 * 99 % 50) + 0);
  static char large[200000];
  memset(large, 'y', sizeof large - 1);
  char* too_large[] = {large, NULL};
  CHECK(run(0, self, too_large) == 91);
  return passed();
}
