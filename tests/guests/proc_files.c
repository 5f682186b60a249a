// build: -O1 -D_GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "tasks.h"

// Files of /proc that programs read: all of them in full, by odd sizes and by seeking.
static unsigned long sum_of(const char* path, size_t step) {
  unsigned long sum = 5381;
  char bytes[8192];
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  for (ssize_t got; (got = read(fd, bytes, step)) > 0;) {
    for (ssize_t i = 0; i < got; i++) sum = sum * 33 + (unsigned char)bytes[i];
  }
  CHECK(pread(fd, bytes, 10, 5) >= -1);
  close(fd);
  return sum;
}

int main(void) {
  const char* paths[] = {"/proc/self/maps",
                         "/proc/self/smaps",
                         "/proc/self/smaps_rollup",
                         "/proc/self/stat",
                         "/proc/self/statm",
                         "/proc/self/status",
                         "/proc/self/environ",
                         "/proc/self/cmdline",
                         "/proc/self/auxv",
                         "/proc/self/limits",
                         "/proc/self/io",
                         "/proc/self/mountinfo",
                         "/proc/self/cgroup",
                         "/proc/self/comm",
                         "/proc/self/oom_score",
                         "/proc/self/sched",
                         "/proc/self/wchan",
                         "/proc/self/syscall",
                         "/proc/self/stack",
                         "/proc/self/numa_maps",
                         "/proc/self/timers",
                         "/proc/self/schedstat",
                         "/proc/self/personality",
                         "/proc/self/pagemap",
                         "/proc/stat",
                         "/proc/meminfo",
                         "/proc/cpuinfo",
                         "/proc/loadavg",
                         "/proc/uptime",
                         "/proc/version",
                         "/proc/filesystems",
                         "/proc/net/dev",
                         "/proc/net/tcp",
                         "/proc/interrupts",
                         "/proc/sys/kernel/osrelease",
                         "/proc/sys/kernel/pid_max",
                         "/proc/sys/vm/overcommit_memory",
                         "/sys/devices/system/cpu/online",
                         "/proc/self/task/self",
                         "/proc/thread-self/stat",
                         "/proc/self/mem",
                         "/proc/self/fdinfo/0",
                         "/proc/self/uid_map",
                         "/proc/self/loginuid"};
  unsigned long sum = 0;
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) sum += sum_of(paths[i], 100 + i * 83);
  CHECK(sum != 0);
  char target[4096] = {0};
  const char* links[] = {"/proc/self/exe",    "/proc/self/cwd",    "/proc/self/root", "/proc/self",
                         "/proc/thread-self", "/proc/self/ns/mnt", "/proc/self/fd/0"};
  for (size_t i = 0; i < 7; i++) CHECK(readlink(links[i], target, sizeof target) > 0);
  DIR* folder = opendir("/proc/self/fd");
  int highest = 0;
  for (struct dirent* entry; (entry = readdir(folder));) {
    struct stat about;
    snprintf(target, sizeof target, "/proc/self/fd/%.20s", entry->d_name);
    CHECK(stat(target, &about) == 0);
    if (atoi(entry->d_name) > highest) highest = atoi(entry->d_name);
  }
  CHECK(closedir(folder) == 0);
  folder = opendir("/proc/self/map_files");
  for (struct dirent* entry; folder && (entry = readdir(folder));) sum += entry->d_ino;
  folder = opendir("/proc");
  int processes = 0;
  for (struct dirent* entry; (entry = readdir(folder));) processes += atoi(entry->d_name) > 0;
  CHECK(processes >= 1);
  // Another name for this process, and for its threads.
  int fd = open("/proc/self/comm", O_WRONLY);
  CHECK(write(fd, "other", 5) == 5);
  fd = open("/proc/self/oom_score_adj", O_RDWR);
  CHECK(fd < 0 || write(fd, "500", 3) == 3);
  fd = open("/proc/self/clear_refs", O_WRONLY);
  CHECK(fd < 0 || write(fd, "1", 1) == 1);
  fd = open("/proc/self/coredump_filter", O_RDWR);
  CHECK(fd < 0 || write(fd, "0x33", 4) == 4);
  return passed();
}
