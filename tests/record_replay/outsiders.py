"""What would shut rchk out of a program that it records, or end it: signals to the whole process
group, programs and memory that its user may not read, file systems that recorded programs provide."""

import atexit
import functools
import os
import pathlib
import shutil
import tempfile
import threading

from harness import guests, process
from harness.report import Skipped, Test, check_equal, require, scratch
from record_replay.filtered import program
from record_replay.recordings import MISUSE, require_status, run, text_of

WITHOUT_PRIVILEGE = (
    "memory_policies", "mremap_forms", "processes_sysv_apart", "processes_sysv_ipc",
    "shared_memory_compared", "sysv_shared_memory", "memfd_hole", "processes_shared_memfd",
    "processes_fork_shared_anonymous", "clock_often_processes", "signals_alarm_in_computation",
    "threads_vfork_beside", "proc_self",
)
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

one_at_a_time = threading.Lock()  # lru_cache() may call twice

KILLS_GROUP = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static volatile int got;
static void on_signal(int number) { got += number != 0; }
int main(int count, char** arguments) {
  if (count != 2) return 1;
  const int number = atoi(arguments[1]);
  signal(number, on_signal);
  kill(0, number);
  for (int i = 0; i < 300; i++) usleep(1000);
  printf("got %d\n", got);
  return 0;
}
"""

NOT_DUMPABLE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
  printf("%d\n", prctl(PR_SET_DUMPABLE, 0));
  char* memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(memory, 1, 1 << 20);
  printf("%d %d\n", prctl(PR_GET_DUMPABLE), memory[9]);
  fflush(stdout);
  if (fork() == 0) {
    printf("child %d\n", prctl(PR_GET_DUMPABLE));
    fflush(stdout);
    execl("/bin/echo", "echo", "another program", NULL);
  }
  wait(NULL);
  printf("%d ", prctl(PR_SET_DUMPABLE, 1));
  printf("%d\n", prctl(PR_GET_DUMPABLE));
  return 0;
}
"""

# Provides a file system with one file, a program; maps the file, executes it, or reads it much and
# in several ways beside another thread.
PROVIDES = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
static char content[1 << 20];
static void* waits(void* argument) {
  pause();
  return argument;
}
static void read_much(int file) {
  static char part[1 << 16];
  pthread_t thread;
  pthread_create(&thread, NULL, waits, NULL);
  long sum = 0;
  for (int i = 0; i < 400; i++) sum += pread(file, part, 16384, 0) + part[i];
  const int mem = open("mounted/mem", O_RDWR);
  off_t from = 0;
  printf("%ld %d\n", sum, mem);
  fflush(stdout);
  printf("\n%ld\n", (long)sendfile(1, file, &from, 4));
}
static long size;
static int device;
static void reply(uint64_t unique, int error, void* data, size_t bytes) {
  struct fuse_out_header head = {sizeof head + (unsigned)bytes, error, unique};
  struct iovec parts[] = {{&head, sizeof head}, {data, bytes}};
  if (writev(device, parts, bytes != 0 ? 2 : 1) < 0) return;
}
static struct fuse_attr facts_of(uint64_t inode) {
  struct fuse_attr facts = {.ino = inode, .nlink = 2, .blksize = 4096, .mode = S_IFDIR | 0755};
  if (inode != 1) facts.mode = S_IFREG | 0755, facts.size = (uint64_t)size;
  return facts;
}
static void provide(void) {
  static char request[300000];
  for (;;) {
    const ssize_t got = read(device, request, sizeof request);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (got <= 0) return;
    struct fuse_in_header* head = (void*)request;
    void* in = head + 1;
    switch (head->opcode) {
      case FUSE_INIT: {
        struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = 65536};
        out.max_background = 12, out.congestion_threshold = 9;
        reply(head->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = facts_of(head->nodeid)};
        reply(head->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = 2, .attr = facts_of(2)};
        const int is_there = strcmp(in, "file") == 0;
        reply(head->unique, is_there ? 0 : -ENOENT, &out, is_there ? sizeof out : 0);
        break;
      }
      case FUSE_OPEN: {
        struct fuse_open_out out = {.fh = 1};
        reply(head->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_READ: {
        const struct fuse_read_in* asked = in;
        long count = size - (long)asked->offset;
        if (count < 0) count = 0;
        if (count > (long)asked->size) count = asked->size;
        reply(head->unique, 0, content + asked->offset, (size_t)count);
        break;
      }
      case FUSE_WRITE: {
        const struct fuse_write_in* asked = in;
        struct fuse_write_out out = {.size = asked->size};
        reply(head->unique, 0, &out, sizeof out);
        break;
      }
      case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: break;
      case FUSE_RELEASE: case FUSE_FLUSH: case FUSE_ACCESS: reply(head->unique, 0, NULL, 0); break;
      case FUSE_DESTROY: return;
      default: reply(head->unique, -ENOSYS, NULL, 0);
    }
  }
}
int main(int count, char** arguments) {
  const char* how = count > 1 ? arguments[1] : "";
  const int program = open("/bin/echo", O_RDONLY);
  size = read(program, content, sizeof content);
  mkdir("mounted", 0755);
  device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  char options[100];
  sprintf(options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
  if (device < 0 || mount("x", "mounted", "fuse", 0, options) != 0) return puts("skipped"), 0;
  const pid_t provider = fork();
  if (provider == 0) provide(), _exit(0);
  close(device);  /* with its provider's end the file system has ended */
  struct stat facts;
  const int file = open("mounted/file", O_RDWR);
  char start[4];
  printf("%d %d\n", stat("mounted/file", &facts), (int)pread(file, start, 4, 0));
  for (int i = 0; i < 3; i++) printf("%d\n", (int)pwrite(file, start, 4, 0));
  fflush(stdout);
  if (strcmp(how, "reads") == 0) {
    read_much(file);
    close(file);
  } else if (strcmp(how, "executes") == 0) {
    close(file);
    const pid_t child = fork();
    if (child == 0) execl("mounted/file", "file", "executed", NULL), _exit(9);
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", status);
  } else {
    const char* map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    printf("mapped %.3s\n", map + 1);
    close(file);
  }
  umount2("mounted", MNT_DETACH);
  kill(provider, SIGKILL);
  waitpid(provider, NULL, 0);
  return 0;
}
"""

OF_32_BITS = r"""
.globl _start
_start:
  rdtsc
  mov $1, %eax
  mov $7, %ebx
  int $0x80
"""


def tests(_options):
    return [
        Test("outsiders/signals_to_group", signals_to_group),
        Test("outsiders/not_dumpable", not_dumpable),
        Test("outsiders/not_readable", not_readable),
        Test("outsiders/provided_read", lambda: provided("reads")),
        Test("outsiders/provided_mapped", lambda: provided("maps")),
        Test("outsiders/provided_executed", lambda: provided("executes")),
        Test("outsiders/of_32_bits", of_32_bits),
        *(Test(f"outsiders/without_privilege/{name}", lambda name=name: without_privilege(name))
          for name in WITHOUT_PRIVILEGE),
    ]


def fresh(name):
    folder = scratch(f"outsiders/{name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def recorded_and_same(command, recording, status=0, cwd=None, prefix=()):
    """Recorded, verified, and repeated by a replay."""
    done = run(*prefix, process.RCHK, "record", "-o", recording, "--", *command, cwd=cwd)
    require_status("record", status, done)
    require_status("verify", 0, run(*prefix, process.RCHK, "verify", recording))
    again = run(*prefix, process.RCHK, "replay", "-a", recording)
    check_equal("output of the replay", done.stdout, again.stdout)
    return done


def signals_to_group():
    """Whatever a program sends to its process group, its handlers get, and rchk goes on."""
    folder = fresh("signals_to_group")
    guest = program(folder, "guest", KILLS_GROUP)
    for number in (1, 2, 3, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 29, 30, 34, 50, 64):
        done = recorded_and_same([guest, str(number)], folder / "recording.rchk",
                                 prefix=["setsid", "-w"])
        check_equal(f"of signal {number}", b"got 1\n", done.stdout)
    shutil.rmtree(folder)


@functools.lru_cache(maxsize=None)
def folder_of_nobody():
    """With rchk in it; the build's may lie where another user cannot come."""
    if os.geteuid() != 0:
        raise Skipped("another user is needed")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rchk-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    shutil.copy(process.RCHK, folder / "rchk")
    return folder


def for_nobody(name):
    """A new folder that another user may write to, and an rchk that it may run."""
    with one_at_a_time:
        shared = folder_of_nobody()
    folder = shared / name
    folder.mkdir()
    folder.chmod(0o777)
    return folder, shared / "rchk"


def not_dumpable():
    """Without a privilege, a program whose memory nobody may read is recorded all the same."""
    folder, rchk = for_nobody("not_dumpable")
    guest = program(folder, "guest", NOT_DUMPABLE)
    recording = folder / "recording.rchk"
    done = run(*NOBODY, rchk, "record", "-o", recording, guest)
    require_status("record", 0, done)
    check_equal("output", b"0\n0 1\nchild 0\nanother program\n0 1\n", done.stdout)
    require_status("verify", 0, run(*NOBODY, rchk, "verify", recording))
    shutil.rmtree(folder)


def not_readable():
    """A program that may be executed and not read ends the recording, and runs."""
    folder, rchk = for_nobody("not_readable")
    shutil.copy("/bin/echo", folder / "unread")
    (folder / "unread").chmod(0o711)
    recording = folder / "recording.rchk"
    done = run(*NOBODY, rchk, "record", "-o", recording, "sh", "-c",
               f"{folder}/unread hello; exit 5")
    require_status("record", 5, done)
    check_equal("output", b"hello\n", done.stdout)
    require("may be executed, but not read" in text_of(done), text_of(done))
    require_status("verify", 0, run(*NOBODY, rchk, "verify", recording))
    done = run(*NOBODY, rchk, "record", "-o", recording, folder / "unread")
    require_status("record", MISUSE, done)
    shutil.rmtree(folder)


def without_privilege(name):
    """A guest of a user who may not look behind mappings (/proc/PID/map_files)."""
    folder, rchk = for_nobody(name)
    shutil.copy(guests.named(name).program(), folder / name)
    recording = folder / "recording.rchk"
    done = run(*NOBODY, rchk, "record", "--checksums", "5", "--snapshots", "10",
               "-o", recording, folder / name, cwd=folder)
    require_status("record", 0, done)
    require_status("verify", 0, run(*NOBODY, rchk, "verify", "--restore", recording))
    shutil.rmtree(folder)


def provided(how):
    """A file of a recorded program's file system: rchk never waits for it. Where it would have to,
    the recording ends."""
    folder = fresh(f"provided_{how}")
    guest = program(folder, "guest", PROVIDES)
    recording = folder / "recording.rchk"
    native = run(guest, how, cwd=folder)
    if native.stdout == b"skipped\n":
        raise Skipped("no file systems of programs (FUSE) here")
    done = run(process.RCHK, "record", "-o", recording, guest, how, cwd=folder)
    require_status("record", 0, done)
    check_equal("output", native.stdout, done.stdout)
    require(("FUSE" in text_of(done)) == (how != "reads"), text_of(done))
    require_status("verify", 0, run(process.RCHK, "verify", recording))
    shutil.rmtree(folder)


def of_32_bits():
    """A 32-bit program is none for rchk, but runs where a recorded one starts it."""
    folder = fresh("of_32_bits")
    (folder / "guest.s").write_text(OF_32_BITS)
    made = run("gcc", "-m32", "-nostdlib", "-static", "-o", folder / "guest", folder / "guest.s")
    require_status("gcc", 0, made)
    if run("sh", "-c", folder / "guest").status != 7:
        raise Skipped("32-bit programs do not run here")
    recording = folder / "recording.rchk"
    done = run(process.RCHK, "record", "-o", recording, "sh", "-c", f"{folder}/guest; echo $?")
    require_status("record", 0, done)
    check_equal("output", b"7\n", done.stdout)
    require_status("verify", 0, run(process.RCHK, "verify", recording))
    require_status("record", MISUSE, run(process.RCHK, "record", "-o", recording, folder / "guest"))
    shutil.rmtree(folder)
