// build: -O1 -pthread -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "tasks.h"

// No signal is sent here: calls that a mere stop of their thread would end with EINTR must last
// their time, while other threads compute past every slice and children come and go.
enum { kTime = 120 };

static const struct timespec kLong = {0, kTime * 1000000};
static atomic_int stop;

static void* wait_in(void* argument) {
  int kind = (int)(intptr_t)argument;
  uint32_t word = 0;
  struct epoll_event event;
  sigset_t none;
  sigemptyset(&none);
  sigaddset(&none, SIGRTMIN + 5);
  int64_t start = now_ns();
  if (kind == 0) CHECK(epoll_wait(epoll_create1(0), &event, 1, kTime) == 0);
  if (kind == 1) CHECK(sigtimedwait(&none, NULL, &kLong) == -1 && errno == EAGAIN);
  if (kind == 2) CHECK(poll(NULL, 0, kTime) == 0);
  if (kind == 3) CHECK(nanosleep(&kLong, NULL) == 0);
  if (kind == 4) {
    long result = syscall(SYS_futex, &word, 128, 0, &kLong, NULL, 0);  // FUTEX_WAIT_PRIVATE
    CHECK(result == -1 && errno == ETIMEDOUT);
  }
  if (kind == 5) {
    int semaphores = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    struct sembuf down = {0, -1, 0};
    if (semaphores < 0) return NULL;
    CHECK(semtimedop(semaphores, &down, 1, &kLong) == -1 && errno == EAGAIN);
    CHECK(semctl(semaphores, 0, IPC_RMID) == 0);
  }
  if (kind == 6) {
    int fd = inotify_init();
    struct pollfd polled = {fd, POLLIN, 0};
    CHECK(ppoll(&polled, 1, &kLong, NULL) == 0);
  }
  CHECK(now_ns() - start >= kTime * 1000000LL);
  return NULL;
}

static void* compute(void* argument) {
  while (stop == 0) computed(100000);
  return argument;
}

int main(void) {
  pthread_t waiting[7], computing[2];
  for (int i = 0; i < 2; i++) computing[i] = started(compute, NULL);
  for (intptr_t i = 0; i < 7; i++) waiting[i] = started(wait_in, (void*)i);
  for (int i = 0; i < 4; i++) {
    pid_t child = forked();
    if (child == 0) _exit(i);
    CHECK(status_of(child) == i);
    sleep_ms(10);
  }
  for (int i = 0; i < 7; i++) joined(waiting[i]);
  stop = 1;
  for (int i = 0; i < 2; i++) joined(computing[i]);
  return passed();
}
