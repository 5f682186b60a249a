// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "tasks.h"

// statx, extended attributes, handles, holes, hints, flags of a file and where it lies.
int main(void) {
  write_file("file", "0123456789", 10);
  int fd = open("file", O_RDWR);
  struct statx about;
  CHECK(statx(AT_FDCWD, "file", 0, STATX_ALL, &about) == 0 && about.stx_size == 10);
  CHECK(about.stx_ino != 0 && statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &about) == 0);
  CHECK(statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &about) == 0);
  char value[64] = {0};
  if (fsetxattr(fd, "user.note", "text of it", 11, 0) == 0) {
    CHECK(fgetxattr(fd, "user.note", value, sizeof value) == 11 &&
          strcmp(value, "text of it") == 0);
    CHECK(getxattr("file", "user.note", value, 3) == -1 && errno == ERANGE);
    CHECK(getxattr("file", "user.note", NULL, 0) == 11);
    CHECK(listxattr("file", value, sizeof value) >= 10 && flistxattr(fd, NULL, 0) >= 10);
    CHECK(lremovexattr("file", "user.note") == 0);
  }
  struct statfs volume;
  CHECK(fstatfs(fd, &volume) == 0 && volume.f_namelen > 0);
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) CHECK(ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
  struct {
    struct fiemap head;
    struct fiemap_extent extents[4];
  } map = {.head = {.fm_length = ~0ull, .fm_extent_count = 4}};
  CHECK(fsync(fd) == 0);
  if (ioctl(fd, FS_IOC_FIEMAP, &map) == 0) CHECK(map.head.fm_mapped_extents <= 4);
  struct fsxattr more;
  if (ioctl(fd, FS_IOC_FSGETXATTR, &more) == 0) CHECK(more.fsx_nextents < 100);
  // Holes.
  CHECK(ftruncate(fd, 1 << 20) == 0 && pwrite(fd, "end", 3, 900000) == 3);
  off_t hole = lseek(fd, 0, SEEK_HOLE), data = lseek(fd, 500000, SEEK_DATA);
  CHECK(hole >= 10 && data <= 900000);
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) {
    CHECK(pread(fd, value, 4, 0) == 4 && value[0] == 0);
  }
  CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0 && readahead(fd, 0, 4096) == 0);
  CHECK(sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE) == 0 || errno == EINVAL);
  // An unnamed file gets a name.
  int nameless = open(".", O_TMPFILE | O_RDWR, 0600);
  if (nameless >= 0) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", nameless);
    CHECK(write(nameless, "x", 1) == 1);
    CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
    CHECK(access("named", R_OK) == 0);
  }
  CHECK(mkdir("folder", 0700) == 0 &&
        renameat2(AT_FDCWD, "file", AT_FDCWD, "folder", RENAME_EXCHANGE) == 0);
  CHECK(renameat2(AT_FDCWD, "file", AT_FDCWD, "folder", RENAME_NOREPLACE) == -1 && errno == EEXIST);
  struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
  long opened = syscall(SYS_openat2, AT_FDCWD, "folder", &how, sizeof how);
  CHECK(opened >= 0 && fstat((int)opened, &(struct stat){0}) == 0);
  CHECK(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how) == -1 && errno == EXDEV);
  int path_only = open("folder", O_PATH);
  CHECK(read(path_only, value, 1) == -1 && errno == EBADF && fstatfs(path_only, &volume) == 0);
  // Through its handle.
  int mount = 0;
  struct {
    struct file_handle head;
    unsigned char bytes[MAX_HANDLE_SZ];
  } handle = {.head.handle_bytes = 0};
  CHECK(name_to_handle_at(AT_FDCWD, "folder", &handle.head, &mount, 0) == -1);
  if (errno == EOVERFLOW) {
    CHECK(handle.head.handle_bytes > 0);
    CHECK(name_to_handle_at(AT_FDCWD, "folder", &handle.head, &mount, 0) == 0);
    int home = open(".", O_RDONLY), again = open_by_handle_at(home, &handle.head, O_RDONLY);
    CHECK(again < 0 || pread(again, value, 3, 900000) == 3);
  }
  return passed();
}
