// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include "namespaces.h"
#include "tasks.h"

// Processes that name each other by the numbers of their own namespace, and write to each other's
// memory: by a /proc of their own, and by process_vm_writev.
static volatile int number = 1;

static void store(int file, int value) {
  CHECK(pwrite(file, &value, sizeof value, (off_t)(uintptr_t)&number) == sizeof value);
}

static int memory_of(const char* process) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/mem", process);
  int file = open(path, O_RDWR);
  CHECK(file >= 0);
  return file;
}

static void as_first(void) {
  CHECK(getpid() == 1 && mount("proc", "/proc", "proc", 0, NULL) == 0);
  int own = memory_of("self");
  store(own, 7);
  CHECK(number == 7);
  int ends[2], back[2];
  char byte = 0;
  CHECK(pipe(ends) == 0 && pipe(back) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(read(ends[0], &byte, 1) == 1 && number == 8);
    CHECK(write(back[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1 && number == 9);
    _exit(number);
  }
  CHECK(child == 2);
  store(memory_of("2"), 8);
  CHECK(number == 7 && write(ends[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
  int nine = 9;
  struct iovec from = {&nine, sizeof nine}, to = {(void*)&number, sizeof number};
  CHECK(process_vm_writev(child, &from, 1, &to, 1, 0) == sizeof nine);
  CHECK(number == 7 && write(ends[1], &byte, 1) == 1);
  CHECK(status_of(child) == 9);
  cpu_set_t set;
  child = forked();
  if (child == 0) {
    CHECK(read(ends[0], &byte, 1) == 1);
    _exit(0);
  }
  CHECK(sched_getaffinity(child, sizeof set, &set) == 0);
  int kept = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    if (kept >= 0) CPU_CLR(cpu, &set);
    if (kept < 0) kept = cpu;
  }
  CHECK(sched_setaffinity(child, sizeof set, &set) == 0);
  CPU_ZERO(&set);
  CHECK(sched_getaffinity(child, sizeof set, &set) == 0);
  CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(kept, &set));
  CHECK(write(ends[1], &byte, 1) == 1 && status_of(child) == 0);
}

int main(void) {
  if (!became_root_of_namespace()) return skipped();
  CHECK(unshare(CLONE_NEWNS | CLONE_NEWPID) == 0);
  pid_t child = forked();
  if (child == 0) {
    as_first();
    _exit(7);
  }
  CHECK(status_of(child) == 7);
  return passed();
}
