// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include "namespaces.h"
#include "tasks.h"

// Namespaces of users, hosts' names, mounts, networks and processes; a child that is number 1.
int main(void) {
  if (!became_root_of_namespace()) return skipped();
  CHECK(getuid() == 0 && unshare(CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) == 0);
  struct utsname name;
  CHECK(sethostname("inside", 6) == 0 && uname(&name) == 0 && strcmp(name.nodename, "inside") == 0);
  CHECK(mkdir("root", 0700) == 0 && mount("none", "root", "tmpfs", 0, "size=1m") == 0);
  CHECK(mkdir("root/folder", 0700) == 0);
  CHECK(unshare(CLONE_NEWPID) == 0);
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(getpid() == 1 && getppid() == 0 && own_tid() == 1);
    pid_t grandchild = fork();
    if (grandchild == 0) {
      CHECK(getpid() == 2 && getppid() == 1);
      pid_t orphan = fork();
      if (orphan == 0) {
        while (getppid() != 1) sched_yield();
        _exit(9);
      }
      CHECK(write(ends[1], &orphan, sizeof orphan) == sizeof orphan);
      _exit(5);
    }
    CHECK(grandchild == 2 && status_of(2) == 5);
    pid_t orphan = 0;
    CHECK(read(ends[0], &orphan, sizeof orphan) == sizeof orphan && orphan == 3);
    CHECK(status_of(orphan) == 9);
    CHECK(chroot("root") == 0 && chdir("/") == 0 && access("/folder", F_OK) == 0);
    CHECK(kill(1, SIGTERM) == 0);  // ignored: it is the first process
    pthread_t thread = started((void* (*)(void*))(void*)own_tid, NULL);
    CHECK((joined(thread) & 0xffff) == 4);
    _exit(7);
  }
  CHECK(child > 2 && status_of(child) == 7 && umount("root") == 0);
  return passed();
}
