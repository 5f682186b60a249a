// build: -O1 -D_GNU_SOURCE
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>

#include "guest.h"

int main(void) {
  struct utsname name;
  struct rusage usage;
  struct rlimit limit;
  struct sysinfo info;
  struct tms times_now;
  cpu_set_t cores;
  CHECK(uname(&name) == 0 && strcmp(name.sysname, "Linux") == 0);
  CHECK(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss > 0);
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 0);
  CHECK(sysinfo(&info) == 0 && info.totalram > 0 && times(&times_now) != -1);
  CHECK(sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 0);
  CHECK(getpid() > 0 && getppid() > 0 && getpgrp() > 0 && getuid() == geteuid());
  gid_t groups[64];
  CHECK(getgroups(64, groups) >= 0 && sched_yield() == 0);
  CHECK(getpriority(PRIO_PROCESS, 0) >= -20 && sysconf(_SC_NPROCESSORS_ONLN) > 0);
  return passed();
}
