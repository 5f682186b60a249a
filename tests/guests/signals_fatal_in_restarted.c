// build: -O1 -D_GNU_SOURCE -pthread
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

#include "tasks.h"

// A signal that ends a process right behind one that it has not noticed, while it waits in a call
// with a time-out: the call has been made again, and nobody knows.
enum { kCalls = 7, kOccasions = 4 };

static void wait_in(int number) {
  struct timespec ten = {10, 0};
  sigset_t wanted;
  siginfo_t info;
  struct epoll_event event;
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  switch (number) {
    case 0:
      nanosleep(&ten, &ten);
      break;
    case 1:
      poll(NULL, 0, 10000);
      break;
    case 2:
      epoll_wait(epoll_create1(0), &event, 1, 10000);
      break;
    case 3:
      sigemptyset(&wanted), sigtimedwait(&wanted, &info, &ten);
      break;
    case 4:
      clock_nanosleep(CLOCK_MONOTONIC, 0, &ten, &ten);
      break;
    case 5:
      pause();
      break;
    case 6:
      clock_gettime(CLOCK_REALTIME, &ten);
      ten.tv_sec += 10;
      pthread_mutex_trylock(&mutex), pthread_mutex_timedlock(&mutex, &ten);
      break;
  }
}

static void end(pid_t child, int occasion) {
  int status;
  if (occasion == 0) {
    CHECK(kill(child, SIGWINCH) == 0);
    sleep_ms(3);
    CHECK(kill(child, SIGTERM) == 0);
    return;
  }
  CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
  CHECK(WIFSTOPPED(status));
  if (occasion == 1) CHECK(kill(child, SIGCONT) == 0 && kill(child, SIGTERM) == 0);
  if (occasion == 2) CHECK(kill(child, SIGTERM) == 0 && kill(child, SIGCONT) == 0);
  if (occasion == 3) {
    CHECK(kill(child, SIGCONT) == 0);
    sleep_ms(3);
    CHECK(kill(child, SIGKILL) == 0);
  }
}

int main(void) {
  for (int call = 0; call < kCalls; call++) {
    for (int occasion = 0; occasion < kOccasions; occasion++) {
      const pid_t child = forked();
      while (child == 0) wait_in(call);  // SIGCONT ends some
      sleep_ms(5);
      end(child, occasion);
      CHECK(status_of(child) == 128 + (occasion == 3 ? SIGKILL : SIGTERM));
    }
  }
  return passed();
}
