// build: -O1 -pthread -D_GNU_SOURCE
#include <sched.h>

#include "tasks.h"

// What a program sets as its cores is what it is told: itself, a thread, and what children inherit.
static pthread_barrier_t barrier;
static pid_t other;

static void* waits(void* unused) {
  other = own_tid();
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return unused;
}

static cpu_set_t set_of(pid_t tid) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CHECK(sched_getaffinity(tid, sizeof set, &set) == 0);
  return set;
}

static cpu_set_t one_of(cpu_set_t* all, int last) {
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, all)) continue;
    if (last) CPU_ZERO(&one);
    if (last || CPU_COUNT(&one) == 0) CPU_SET(cpu, &one);
  }
  return one;
}

int main(void) {
  cpu_set_t all = set_of(0), first = one_of(&all, 0), last = one_of(&all, 1), now, none;
  CHECK(CPU_COUNT(&all) >= 1);
  pthread_t thread;
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
  thread = started(waits, NULL);
  pthread_barrier_wait(&barrier);
  CHECK(sched_setaffinity(0, sizeof first, &first) == 0);
  now = set_of(0);
  CHECK(CPU_EQUAL(&now, &first));
  unsigned cpu = 0;
  CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && CPU_ISSET(cpu, &first));
  now = set_of(other);
  CHECK(CPU_EQUAL(&now, &all));
  CHECK(sched_setaffinity(0, sizeof last, &last) == 0);
  CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && CPU_ISSET(cpu, &last));
  CHECK(sched_setaffinity(0, sizeof first, &first) == 0);
  CHECK(sched_setaffinity(other, sizeof last, &last) == 0);
  now = set_of(other);
  CHECK(CPU_EQUAL(&now, &last));
  CPU_ZERO(&none);
  CHECK(sched_setaffinity(0, sizeof none, &none) == -1 && errno == EINVAL);
  CHECK(sched_setaffinity(0, sizeof none, (cpu_set_t*)16) == -1 && errno == EFAULT);
  now = set_of(0);
  CHECK(CPU_EQUAL(&now, &first));
  pid_t child = forked();
  if (child == 0) {
    now = set_of(0);
    _exit(CPU_EQUAL(&now, &first) ? 0 : 1);
  }
  CHECK(status_of(child) == 0);
  // What is not there any more is left out.
  CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
  now = set_of(0);
  CHECK(CPU_EQUAL(&now, &all));
  pthread_barrier_wait(&barrier);
  joined(thread);
  return passed();
}
