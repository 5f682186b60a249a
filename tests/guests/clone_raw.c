// build: -O1 -D_GNU_SOURCE
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// Threads without pthreads: what clone(2) promises of the words it is told to set and clear.
enum { kStack = 65536 };

static volatile int value;
static volatile pid_t parent_word, child_word = -1, clear_word = 1;

static int thread(void* argument) {
  value += *(int*)argument;
  CHECK(child_word == own_tid());
  // No return: it would run the destructors of a C library that knows nothing of this thread.
  syscall(SYS_exit, 0);
  return 0;
}

static int process(void* argument) {
  value += *(int*)argument;
  syscall(SYS_exit, 9);
  return 0;
}

static void wait_cleared(volatile pid_t* word) {
  pid_t seen;
  while ((seen = *word) != 0) syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

int main(void) {
  int seven = 7;
  char* stack = mmap(NULL, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(stack != MAP_FAILED);
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
              CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  pid_t tid = clone(thread, stack + kStack, flags, &seven, &parent_word, NULL, &child_word);
  CHECK(tid > 0 && parent_word == tid);
  wait_cleared(&child_word);
  CHECK(value == 7);

  // A process that shares its memory.
  pid_t pid = clone(process, stack + kStack, CLONE_VM | SIGCHLD, &seven);
  CHECK(pid > 0 && status_of(pid) == 9 && value == 14);

  // A child with the memory and, until it ends, the parent's turn; a pidfd from clone3.
  int pidfd = -1;
  struct clone_args arguments = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID,
                                 .pidfd = (uintptr_t)&pidfd,
                                 .parent_tid = (uintptr_t)&clear_word,
                                 .exit_signal = SIGCHLD};
  pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) _exit(11);
  CHECK(pid > 0 && pidfd > 2 && clear_word == pid);
  siginfo_t info;
  CHECK(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) == 0);
  CHECK(info.si_pid == pid && info.si_status == 11 && info.si_code == CLD_EXITED);
  return passed();
}
