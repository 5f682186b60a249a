// build: -O1 -pthread -D_GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

#include "tasks.h"

// An execve leaves memory that others go on using, and the kernel writes to it as when a thread
// ends: it marks robust futexes and clears the word of CLONE_CHILD_CLEARTID (kernel/fork.c,
// exec_mm_release).
static char stack[65536] __attribute__((aligned(16)));
static _Atomic int child_tid, owned;
static struct {
  struct robust_list_head head;
  struct robust_list entry;
} list;

static void execute(void) {
  execl("/proc/self/exe", "again", "again", (char*)NULL);
  _exit(9);
}

static int execute_owning(void* with_list) {
  if (with_list != NULL) {
    list.head.list.next = &list.entry;
    list.entry.next = &list.head.list;
    list.head.futex_offset = (char*)&owned - (char*)&list.entry;
    owned = own_tid();
    if (syscall(SYS_set_robust_list, &list.head, sizeof list.head) != 0) _exit(8);
  }
  execute();
  return 9;
}

static pid_t cloned(int flags, void* with_list) {
  child_tid = 77;
  owned = 77;
  pid_t child = clone(execute_owning, stack + sizeof stack, CLONE_VM | CLONE_CHILD_CLEARTID | flags,
                      with_list, NULL, NULL, (int*)&child_tid);
  CHECK(child > 0);
  return child;
}

static void make(pthread_mutex_t* mutex) {
  pthread_mutexattr_t attributes;
  CHECK(pthread_mutexattr_init(&attributes) == 0);
  CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_mutex_init(mutex, &attributes) == 0);
}

static pid_t forked_owner(pthread_mutex_t* mutex) {
  int ends[2];
  char byte = 0;
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(pthread_mutex_lock(mutex) == 0 && write(ends[1], &byte, 1) == 1);
    execute();
  }
  CHECK(read(ends[0], &byte, 1) == 1 && close(ends[0]) == 0 && close(ends[1]) == 0);
  return child;
}

static void end_with(pthread_mutex_t* mutex, pid_t child) {
  CHECK(pthread_mutex_consistent(mutex) == 0 && pthread_mutex_unlock(mutex) == 0);
  CHECK(status_of(child) == 5);
}

int main(int count, char** arguments) {
  (void)arguments;
  if (count > 1) return 5;
  pthread_mutex_t* shared =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  make(shared);
  pid_t child = forked_owner(shared);
  CHECK(pthread_mutex_lock(shared) == EOWNERDEAD);
  end_with(shared, child);
  child = forked_owner(shared);
  int state;
  while ((state = pthread_mutex_trylock(shared)) == EBUSY) sched_yield();
  CHECK(state == EOWNERDEAD);
  end_with(shared, child);
  child = forked_owner(shared);
  CHECK(status_of(child) == 5 && pthread_mutex_lock(shared) == EOWNERDEAD);
  CHECK(pthread_mutex_consistent(shared) == 0 && pthread_mutex_unlock(shared) == 0);

  child = cloned(SIGCHLD, NULL);
  while (child_tid != 0) syscall(SYS_futex, &child_tid, FUTEX_WAIT, 77, NULL);
  CHECK(status_of(child) == 5 && owned == 77);
  child = cloned(SIGCHLD | CLONE_VFORK, NULL);
  CHECK(child_tid == 0 && status_of(child) == 5);
  child = cloned(SIGCHLD, &list);
  while (child_tid != 0) sched_yield();
  CHECK(owned == FUTEX_OWNER_DIED && status_of(child) == 5);
  child = cloned(SIGCHLD | CLONE_VFORK, &list);
  CHECK(owned == FUTEX_OWNER_DIED && child_tid == 0 && status_of(child) == 5);
  return passed();
}
