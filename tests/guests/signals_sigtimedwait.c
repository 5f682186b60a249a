// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static sigset_t wanted;

static void* wait_in_thread(void* argument) {
  siginfo_t info;
  (void)argument;
  return (void*)(intptr_t)(sigwaitinfo(&wanted, &info) == SIGRTMIN ? info.si_value.sival_int : -1);
}

int main(void) {
  siginfo_t info;
  struct timespec moment = {0, 20000000}, zero = {0, 0};
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGRTMIN);
  sigaddset(&wanted, SIGUSR1);
  CHECK(pthread_sigmask(SIG_BLOCK, &wanted, NULL) == 0);
  int64_t start = now_ns();
  CHECK(sigtimedwait(&wanted, &info, &moment) == -1 && errno == EAGAIN);
  CHECK(now_ns() - start >= 20000000);
  CHECK(sigtimedwait(&wanted, &info, &zero) == -1 && errno == EAGAIN);
  pthread_t thread = started(wait_in_thread, NULL);
  sleep_ms(5);
  CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 77}) == 0);
  CHECK(joined(thread) == 77);
  pid_t child = forked();
  if (child == 0) {
    sleep_ms(5);
    sigqueue(getppid(), SIGUSR1, (union sigval){.sival_int = 5});
    _exit(0);
  }
  CHECK(sigwaitinfo(&wanted, &info) == SIGUSR1 && info.si_pid == child && info.si_int == 5);
  CHECK(status_of(child) == 0);
  return passed();
}
