"""rchk in a sandbox, as in a container: a seccomp filter that refuses some calls holds for it and for
all that it records."""

import re
import shutil

from harness import guests, process
from harness.report import Test, check_equal, require, scratch
from record_replay.recordings import require_status, run, text_of

# With arguments: sets a filter that refuses getsid, and becomes that program.
FILTER = r"""
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char** arguments) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {4, code};
  if (count < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 1;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
  execv(arguments[1], arguments + 1);
  return 1;
}
"""

COMMON = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
static void read_clock(int times) {
  struct timespec now;
  for (int i = 0; i < times; i++) clock_gettime(CLOCK_MONOTONIC, &now);
}
static int refused(void) { return getsid(0) == -1 && errno == EPERM; }
static int filters(void) {
  char line[128];
  int count = -1;
  FILE* file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) sscanf(line, "Seccomp_filters: %d", &count);
  if (file != NULL) fclose(file);
  return count;
}
static void say(const char* text, int value) {
  printf("%s %d\n", text, value);
  fflush(stdout);
}
"""

# Phases with many readings of the clock, and phases with many other calls; threads and children,
# signals meanwhile, and one that is blocked that the recorder has its own use for.
PHASES = COMMON + r"""
static volatile int alarms;
static void on_alarm(int number) { (void)number, alarms++; }
static void* in_thread(void* unused) {
  for (int i = 0; i < 300; i++) read_clock(10), syscall(SYS_getppid);
  return refused() ? unused : NULL;
}
int main(void) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  signal(SIGSYS, SIG_IGN);
  sigset_t set, now;
  sigemptyset(&set), sigaddset(&set, SIGSYS);
  sigprocmask(SIG_BLOCK, &set, NULL);
  struct itimerval often = {{0, 3000}, {0, 3000}}, never = {0};
  setitimer(ITIMER_REAL, &often, NULL);
  int parent = getppid(), same = 0;
  for (int round = 0; round < 4; round++) {
    read_clock(3000);
    for (int i = 0; i < 1500; i++) same += syscall(SYS_getppid) == parent;
  }
  say("filters", filters());
  say("calls", same);
  read_clock(2000);
  pthread_t threads[2];
  void* result;
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, in_thread, &set);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], &result), say("thread", result == &set);
  for (int i = 0; i < 3; i++) {
    pid_t child = i == 2 ? vfork() : fork();
    if (child == 0) {
      if (i == 2) _exit(7);
      read_clock(500);
      _exit(refused() && write(1, "child\n", 6) == 6 ? 5 : 6);
    }
    int status = -1;
    pid_t ended = waitpid(child, &status, 0);
    say("status", ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  sigprocmask(SIG_BLOCK, NULL, &now);
  say("blocked", sigismember(&now, SIGSYS));
  say("ignored", signal(SIGSYS, SIG_DFL) == SIG_IGN);
  say("refused", refused());
  say("alarms", alarms > 0);
  if (fork() == 0) execl("/bin/echo", "echo", "other program", NULL);
  wait(NULL);
  abort();
}
"""

# The recording ends before the program does, which goes on as if nobody traced it.
RELEASED = COMMON + r"""
static volatile int steps;
static void on_trap(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  if (++steps >= 5) ((ucontext_t*)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}
static void* in_thread(void* unused) {
  usleep(200000);
  read_clock(100);
  return refused() ? unused : NULL;
}
int main(void) {
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  read_clock(3000);
  pthread_t thread;
  pthread_create(&thread, NULL, in_thread, &action);
  unsigned long sum = 1;
  __asm__ volatile(
      "sub $128, %%rsp\n pushf\n orl $0x100, (%%rsp)\n popf\n"
      "add $3, %0\n add $5, %0\n add $7, %0\n nop\n nop\n nop\n nop\n add $128, %%rsp"
      : "+r"(sum)::"cc", "memory");
  say("steps", steps);
  say("filters", filters());
  read_clock(1000);
  void* result;
  pthread_join(thread, &result);
  say("thread", result == &action);
  for (int i = 0; i < 3; i++) {
    pid_t child = i == 2 ? vfork() : fork();
    if (child == 0) {
      if (i == 2) execl("/bin/echo", "echo", "by vfork", NULL);
      _exit(refused() ? 5 : 6);
    }
    int status = -1;
    pid_t ended = waitpid(child, &status, 0);
    say("status", ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  }
  say("refused", refused());
  return 9;
}
"""


def tests(_options):
    return [
        Test("filtered/snapshots", snapshots_and_doctor),
        Test("filtered/phases", phases),
        Test("filtered/released", released),
        *(Test(f"filtered/{name}", lambda name=name: of_guest(name))
          for name in ("clock_often_signals", "stream_often", "epoll_often", "socket_often")),
    ]


def program(folder, name, source):
    path = folder / f"{name}.c"
    path.write_text(source)
    return guests.compile_program(path, folder / name, ["-O1", "-pthread"])


def prepared(name):
    folder = scratch(f"filtered/{name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder, program(folder, "filter", FILTER)


def recorded(sandbox, guest, recording, status, *options):
    """What rchk says of a run under the filter that is to end with `status`; verified."""
    command = [sandbox, process.RCHK, "record", *options, "-o", recording, "--", guest]
    done = run(*command, cwd=recording.parent)
    require_status("record", status, done)
    require_status("verify", 0, run(process.RCHK, "verify", "--restore", recording))
    return done


def snapshots_and_doctor():
    """Calls that the filter refuses are recorded as such, and there are page snapshots."""
    folder, sandbox = prepared("snapshots")
    source = COMMON + r"""
int main(void) {
  int count = 0;
  read_clock(20000);
  for (int i = 0; i < 30000; i++) count += syscall(SYS_getppid) > 0;
  for (int i = 0; i < 100; i++) count += refused();
  say("calls", count);
}
"""
    guest = program(folder, "guest", source)
    recording = folder / "recording.rchk"
    done = recorded(sandbox, guest, recording, 0, "--snapshots", "50")
    check_equal("output", b"calls 30100\n", done.stdout)
    said = run(process.RCHK, "info", recording).stdout.decode()
    require(re.search(r"^page snapshots +[1-9]", said, re.M), f"no page snapshots:\n{said}")
    said = text_of(run(sandbox, process.RCHK, "doctor"))
    require(re.search(r"^yes +calls without a stop.*filter", said, re.M), f"doctor says:\n{said}")
    shutil.rmtree(folder)


def with_one_more_filter(native):
    """Its output, where the agent's filter is there as well."""
    return native.stdout.replace(b"filters 1\n", b"filters 2\n")


def phases():
    """An agent begins and ends as it is worth it; nothing of that shows but one more filter."""
    folder, sandbox = prepared("phases")
    guest = program(folder, "guest", PHASES)
    recording = folder / "recording.rchk"
    native = run(sandbox, guest)
    done = recorded(sandbox, guest, recording, native.status, "--snapshots", "50")
    check_equal("output", with_one_more_filter(native), done.stdout)
    again = run(process.RCHK, "replay", "-a", recording)
    check_equal("output of the replay", done.stdout, again.stdout)
    shutil.rmtree(folder)


def released():
    """A program whose recording stops goes on, and so do its threads and children."""
    folder, sandbox = prepared("released")
    guest = program(folder, "guest", RELEASED)
    recording = folder / "recording.rchk"
    native = run(sandbox, guest)
    done = recorded(sandbox, guest, recording, native.status)
    require("trap flag" in text_of(done), text_of(done))
    check_equal("output", with_one_more_filter(native), done.stdout)
    shutil.rmtree(folder)


def of_guest(name):
    """A guest of which an agent makes many calls."""
    folder, sandbox = prepared(name)
    guest = guests.named(name).program()
    recording = folder / "recording.rchk"
    recorded(sandbox, guest, recording, 0, "--checksums", "5")
    shutil.rmtree(folder)
