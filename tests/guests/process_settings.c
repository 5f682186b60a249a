// build: -O1 -D_GNU_SOURCE
#include <asm/prctl.h>
#include <fcntl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tasks.h"

// prctl, arch_prctl, personality, handles of files, landlock's version, numbers nobody has.
int main(void) {
  char name[16] = {0};
  unsigned long base = 0;
  struct rlimit limit;
  CHECK(prctl(PR_SET_NAME, "renamed") == 0 && prctl(PR_GET_NAME, name) == 0);
  CHECK(strcmp(name, "renamed") == 0);
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0 && prctl(PR_GET_DUMPABLE) == 1);
  CHECK(syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0 && base != 0);
  CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x1234000) == 0);
  CHECK(syscall(SYS_arch_prctl, ARCH_GET_GS, &base) == 0 && base == 0x1234000);
  CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0) == 0);
  CHECK(personality(0xffffffff) != -1);
  CHECK(prlimit(0, RLIMIT_NOFILE, NULL, &limit) == 0 && limit.rlim_cur > 0);
  write_file("file", "x", 1);
  int mount = 0;
  struct {
    struct file_handle head;
    unsigned char bytes[MAX_HANDLE_SZ];
  } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
  int result = name_to_handle_at(AT_FDCWD, "file", &handle.head, &mount, 0);
  CHECK(result == 0 ? handle.head.handle_bytes > 0 : errno == EOPNOTSUPP || errno == ENOSYS);
  long version = syscall(444, NULL, 0, 1);  // landlock_create_ruleset
  CHECK(version > 0 || errno == ENOSYS || errno == EOPNOTSUPP);
  CHECK(syscall(700) == -1 && errno == ENOSYS && syscall(-5L) == -1 && errno == ENOSYS);
  return passed();
}
