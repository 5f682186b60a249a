// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "tasks.h"

// What shows who else has some memory, a folder or a process group. Nobody has, though a signal
// came in the middle of a computation.
static volatile int ticks;

static void on_tick(int number) { ticks += number == SIGALRM; }

static void compute(void) {
  static volatile char memory[1 << 20];
  const struct itimerval every = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
  signal(SIGALRM, on_tick);
  ticks = 0;
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  for (unsigned i = 0; ticks < 3; i++) memory[i * 4096 % sizeof memory]++;
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static void attach(void) {
  struct shmid_ds facts;
  const int segment = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
  CHECK(segment >= 0);
  char* memory = shmat(segment, NULL, 0);
  CHECK(memory != (void*)-1);
  compute();
  CHECK(shmctl(segment, IPC_STAT, &facts) == 0 && facts.shm_nattch == 1);
  CHECK(shmdt(memory) == 0 && shmctl(segment, IPC_STAT, &facts) == 0 && facts.shm_nattch == 0);
  CHECK(shmctl(segment, IPC_RMID, NULL) == 0 && shmctl(segment, IPC_STAT, &facts) == -1);
}

static void seal(void) {
  const int file = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  CHECK(file >= 0 && ftruncate(file, 8192) == 0);
  char* memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(memory != MAP_FAILED);
  memory[0] = 1;
  compute();
  CHECK(munmap(memory, 8192) == 0 && fcntl(file, F_ADD_SEALS, F_SEAL_WRITE) == 0);
}

static void execute_written(void) {
  static char program[1 << 20];
  const int from = open("/bin/true", O_RDONLY);
  const ssize_t size = read(from, program, sizeof program);
  CHECK(size > 0 && size < (ssize_t)sizeof program);
  const int to = open("written", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
  CHECK(to >= 0 && ftruncate(to, size) == 0);
  char* memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
  CHECK(memory != MAP_FAILED);
  memcpy(memory, program, (size_t)size);
  compute();
  CHECK(munmap(memory, (size_t)size) == 0 && close(to) == 0);
  const pid_t child = forked();
  if (child == 0) {
    execl("./written", "written", NULL);
    _exit(9);
  }
  CHECK(status_of(child) == 0 && unlink("written") == 0);
}

// Where the program may mount.
static void leave_folder(void) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return;
  CHECK(mkdir("mounted", 0755) == 0 && mount("t", "mounted", "tmpfs", 0, NULL) == 0);
  CHECK(chdir("mounted") == 0);
  compute();
  CHECK(chdir("..") == 0 && umount("mounted") == 0 && rmdir("mounted") == 0);
}

static void end_group(void) {
  const pid_t child = forked();
  if (child == 0) {
    CHECK(setpgid(0, 0) == 0);
    compute();
    _exit(0);
  }
  CHECK(status_of(child) == 0 && kill(-child, 0) == -1 && errno == ESRCH);
}

int main(void) {
  attach();
  seal();
  execute_written();
  leave_folder();
  end_group();
  return passed();
}
