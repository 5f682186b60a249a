// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static volatile int fired;
static timer_t timer;

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  CHECK(number == SIGRTMIN + 1 && info->si_code == SI_TIMER && info->si_value.sival_int == 99);
  CHECK(info->si_overrun >= 0 && timer_getoverrun(timer) == info->si_overrun);
  fired++;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  struct sigevent event = {
      .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 99};
  struct itimerspec every = {{0, 4000000}, {0, 4000000}}, left, off = {{0, 0}, {0, 0}};
  CHECK(sigaction(SIGRTMIN + 1, &action, NULL) == 0);
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  CHECK(timer_settime(timer, 0, &every, NULL) == 0);
  uint64_t expected = computed(5000);
  while (fired < 10) CHECK(computed(5000) == expected);
  CHECK(timer_gettime(timer, &left) == 0 && left.it_interval.tv_nsec == 4000000);
  CHECK(timer_settime(timer, 0, &off, NULL) == 0 && timer_delete(timer) == 0);

  // To this thread (SIGEV_THREAD_ID), while it sleeps.
  sigset_t wanted;
  siginfo_t info;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &wanted, NULL) == 0);
  struct sigevent direct = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  direct._sigev_un._tid = own_tid();
  struct itimerspec once = {{0, 0}, {0, 3000000}};
  CHECK(timer_create(CLOCK_REALTIME, &direct, &timer) == 0);
  CHECK(timer_settime(timer, 0, &once, NULL) == 0);
  CHECK(sigwaitinfo(&wanted, &info) == SIGUSR1 && info.si_code == SI_TIMER);
  CHECK(timer_delete(timer) == 0);
  return passed();
}
