// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "tasks.h"

// Behind a handler with SA_RESTART these go on: writes to what is full, locks, accept, futexes;
// System V waits end in EINTR all the same (signal(7)). What was transferred before counts.
static volatile sig_atomic_t seen;

static volatile int told_of_alarms = -1;

static void handler(int number) {
  seen += number == SIGALRM;
  if (told_of_alarms >= 0 && write(told_of_alarms, "a", 1) != 1) _exit(98);
}

static void arm(int ms) {
  // Again and again: the first one may come before the call that it is meant for.
  struct itimerval soon = {{0, ms * 1000}, {0, ms * 1000}};
  seen = 0;
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

static void disarm(int least) {
  struct itimerval off = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0 && seen >= least);
}

// Nobody reads before the write has come back: only an alarm can end it.
static void full_pipe(void) {
  static char block[300000], back[300000];
  int ends[2], returned[2];
  CHECK(pipe(ends) == 0 && pipe(returned) == 0);
  memset(block, 'x', sizeof block);
  pid_t child = forked();
  if (child == 0) {
    CHECK(read(returned[0], back, 1) == 1);
    close(ends[1]);
    size_t got = 0;
    ssize_t size;
    while ((size = read(ends[0], back, sizeof back)) > 0) got += (size_t)size;
    _exit(got == sizeof block ? 1 : 2);
  }
  arm(15);
  ssize_t written = write(ends[1], block, sizeof block);
  disarm(1);
  // A write that has transferred something returns how much; it is not restarted.
  CHECK(written > 0 && written < (ssize_t)sizeof block);
  CHECK(write(returned[1], "r", 1) == 1);
  close(ends[0]);
  while (written < (ssize_t)sizeof block) {
    ssize_t more = write(ends[1], block + written, sizeof block - (size_t)written);
    CHECK(more > 0);
    written += more;
  }
  close(ends[1]);
  CHECK(status_of(child) == 1);
}

// The child holds each lock until an alarm has come while the parent waits for it.
static void locks(void) {
  int ends[2], first[2], second[2], fd = open("lock", O_RDWR | O_CREAT, 0600);
  char byte;
  CHECK(fd >= 0 && pipe(ends) == 0 && pipe(first) == 0 && pipe(second) == 0);
  pid_t child = forked();
  if (child == 0) {
    int own = open("lock", O_RDWR);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK(flock(own, LOCK_EX) == 0 && fcntl(own, F_SETLK, &whole) == 0);
    CHECK(write(ends[1], "l", 1) == 1);
    CHECK(read(first[0], &byte, 1) == 1);
    sleep_ms(15);
    CHECK(flock(own, LOCK_UN) == 0);
    CHECK(read(second[0], &byte, 1) == 1);
    sleep_ms(15);
    _exit(3);
  }
  CHECK(read(ends[0], &byte, 1) == 1);
  told_of_alarms = first[1];
  arm(10);
  CHECK(flock(fd, LOCK_EX) == 0);
  disarm(1);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  told_of_alarms = second[1];
  arm(10);
  CHECK(fcntl(fd, F_SETLKW, &whole) == 0);
  disarm(1);
  told_of_alarms = -1;
  CHECK(status_of(child) == 3);
}

static void accepting(void) {
  struct sockaddr_un where = {.sun_family = AF_UNIX, .sun_path = "socket"};
  int alarms[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
  char byte;
  CHECK(pipe(alarms) == 0);
  CHECK(bind(listener, (struct sockaddr*)&where, sizeof where) == 0 && listen(listener, 1) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(read(alarms[0], &byte, 1) == 1);
    sleep_ms(15);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    _exit(connect(fd, (struct sockaddr*)&where, sizeof where) == 0 ? 4 : 5);
  }
  told_of_alarms = alarms[1];
  arm(10);
  CHECK(accept(listener, NULL, NULL) >= 0);
  disarm(1);
  told_of_alarms = -1;
  CHECK(status_of(child) == 4);
}

static void system_v(void) {
  int semaphores = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  struct sembuf down = {0, -1, 0};
  struct timespec hour = {3600, 0};
  char message[64];
  if (semaphores < 0 || queue < 0) return;
  arm(10);
  CHECK(semop(semaphores, &down, 1) == -1 && errno == EINTR && seen >= 1);
  arm(10);
  CHECK(semtimedop(semaphores, &down, 1, &hour) == -1 && errno == EINTR && seen >= 1);
  arm(10);
  CHECK(msgrcv(queue, message, 8, 0, 0) == -1 && errno == EINTR && seen >= 1);
  CHECK(semctl(semaphores, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, NULL) == 0);
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  full_pipe();
  locks();
  accepting();
  system_v();
  // A futex with a time-out, which is an absolute one for the kernel, ends when it should.
  uint32_t word = 0;
  struct timespec moment = {0, 40000000};
  int64_t start = now_ns();
  arm(10);
  long result = syscall(SYS_futex, &word, 128, 0, &moment, NULL, 0);  // FUTEX_WAIT_PRIVATE
  CHECK(result == -1 && (errno == ETIMEDOUT || errno == EINTR));
  CHECK(errno == EINTR || now_ns() - start >= 40000000);
  disarm(1);
  return passed();
}
