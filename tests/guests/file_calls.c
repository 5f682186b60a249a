// build: -O1
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "guest.h"

int main(void) {
  char path[PATH_MAX], target[100];
  struct stat status;
  struct statvfs volume;
  CHECK(getcwd(path, sizeof path) != NULL);
  write_file("a", "hello", 5);
  CHECK(rename("a", "b") == 0 && access("a", F_OK) == -1 && access("b", R_OK) == 0);
  CHECK(symlink("b", "c") == 0 && readlink("c", target, sizeof target) == 1 && target[0] == 'b');
  CHECK(lstat("c", &status) == 0 && S_ISLNK(status.st_mode));
  CHECK(link("b", "d") == 0 && stat("d", &status) == 0 && status.st_nlink == 2);
  CHECK(chmod("d", 0640) == 0 && truncate("d", 3) == 0 && stat("b", &status) == 0);
  CHECK(status.st_size == 3 && (status.st_mode & 0777) == 0640);
  CHECK(statvfs(".", &volume) == 0 && volume.f_bsize > 0);
  int fd = open("b", O_RDWR);
  CHECK(flock(fd, LOCK_EX) == 0 && fsync(fd) == 0);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 2};
  CHECK(fcntl(fd, F_SETLK, &lock) == 0 && fcntl(fd, F_GETLK, &lock) == 0);
  CHECK(fcntl(fd, F_GETFL) >= 0 && fcntl(fd, F_DUPFD, 100) == 100);
  CHECK(mkdir("folder", 0700) == 0 && chdir("folder") == 0 && chdir("..") == 0);
  CHECK(rmdir("folder") == 0 && unlink("c") == 0 && unlink("d") == 0);
  umask(umask(022));
  return passed();
}
