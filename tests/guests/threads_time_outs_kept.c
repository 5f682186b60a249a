// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#include "tasks.h"

// Signals that are ignored come while a thread waits for so long: it waits to the end, and what it
// waits for stays in memory as it was, where another thread looks at it.
enum { kWaitNs = 60000000, kRounds = 12 };

static struct timespec limit = {0, kWaitNs};
static volatile int started_waiting, waited;
static int epoll, semaphores;

static void* waits(void* argument) {
  const int64_t begin = now_ns();
  long result = -1;
  started_waiting++;
  if (argument == (void*)0) {
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR1) == 0);
    result = syscall(SYS_rt_sigtimedwait, &set, NULL, &limit, 8);
    CHECK(result == -1 && errno == EAGAIN);
  } else if (argument == (void*)1) {
    struct epoll_event event;
    result = syscall(SYS_epoll_pwait2, epoll, &event, 1, &limit, NULL, 8);
    CHECK(result == 0);
  } else {
    struct sembuf down = {0, -1, 0};
    result = syscall(SYS_semtimedop, semaphores, &down, 1, &limit);
    CHECK(result == -1 && errno == EAGAIN);
  }
  CHECK(now_ns() - begin >= kWaitNs);
  waited++;
  return NULL;
}

int main(void) {
  epoll = epoll_create1(0);
  semaphores = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  CHECK(epoll >= 0 && semaphores >= 0);
  for (long kind = 0; kind < 3; kind++) {
    pthread_t thread = started(waits, (void*)kind);
    while (started_waiting == kind) sleep_ms(1);
    for (int round = 0; round < kRounds && waited == kind; round++) {
      sleep_ms(2);
      CHECK(pthread_kill(thread, SIGURG) == 0);
      sleep_ms(1);
      CHECK(computed(1000000) != 0);
      CHECK(limit.tv_sec == 0 && limit.tv_nsec == kWaitNs);
    }
    joined(thread);
  }
  CHECK(semctl(semaphores, 0, IPC_RMID) == 0);
  return passed();
}
