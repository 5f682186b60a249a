// build: -O1 -D_GNU_SOURCE
#include <sched.h>
#include <sys/resource.h>

#include "tasks.h"

// sched_*, priorities, limits of another process, getcpu, ioprio.
int main(void) {
  struct sched_param parameter = {0};
  CHECK(sched_getscheduler(0) == SCHED_OTHER && sched_getparam(0, &parameter) == 0);
  CHECK(sched_setscheduler(0, SCHED_BATCH, &parameter) == 0 &&
        sched_getscheduler(0) == SCHED_BATCH);
  CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_FIFO) == 1);
  struct timespec slice = {0};
  CHECK(sched_rr_get_interval(0, &slice) == 0);
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t low, high;
  } attributes = {0};
  CHECK(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0);
  CHECK(attributes.policy == SCHED_BATCH);
  attributes.nice = 5, attributes.size = 48;
  CHECK(syscall(SYS_sched_setattr, 0, &attributes, 0) == 0);
  CHECK(getpriority(PRIO_PROCESS, 0) == 5 && nice(2) == 7);
  CHECK(setpriority(PRIO_PROCESS, 0, 9) == 0);
  unsigned cpu = 99, node = 99;
  CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && cpu < 4096 && node < 1024);
  CHECK(sched_getcpu() >= 0);
  CHECK(syscall(SYS_ioprio_get, 1, 0) >= 0);
  CHECK(syscall(SYS_ioprio_set, 1, 0, (2 << 13) | 4) == 0);
  CHECK(syscall(SYS_ioprio_get, 1, 0) == ((2 << 13) | 4));
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    char byte;
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    _exit((int)limit.rlim_cur);
  }
  struct rlimit limit = {50, 60}, old = {0};
  CHECK(prlimit(child, RLIMIT_NOFILE, &limit, &old) == 0 && old.rlim_cur > 60);
  cpu_set_t cores;
  CHECK(sched_getaffinity(child, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 0);
  CHECK(sched_setaffinity(child, sizeof cores, &cores) == 0);
  CHECK(getpriority(PRIO_PROCESS, (id_t)child) == 9 && getpriority(PRIO_PGRP, 0) <= 9);
  CHECK(close(ends[1]) == 0 && status_of(child) == 50);
  // A process may pin itself to one core and see that it is.
  CPU_ZERO(&cores);
  CPU_SET((unsigned)sched_getcpu(), &cores);
  CHECK(sched_setaffinity(0, sizeof cores, &cores) == 0);
  return passed();
}
