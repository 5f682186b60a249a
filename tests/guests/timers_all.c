// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>

#include "tasks.h"

// timer_*, timerfd, clocks of processes and threads, clock_adjtime, CPU-time clocks, sleeps until.
static volatile int rung;
static void on_timer(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (info->si_code == SI_TIMER) rung = info->si_value.sival_int;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGRTMIN + 1, &action, NULL) == 0);
  struct sigevent event = {
      .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 55};
  timer_t timer;
  struct itimerspec in = {.it_value.tv_nsec = 2000000, .it_interval.tv_nsec = 1000000}, now;
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  CHECK(timer_settime(timer, 0, &in, NULL) == 0 && timer_gettime(timer, &now) == 0);
  CHECK(now.it_interval.tv_nsec == 1000000);
  while (rung != 55) pause();
  CHECK(timer_getoverrun(timer) >= 0);
  CHECK(timer_settime(timer, 0, &(struct itimerspec){0}, &now) == 0 && timer_delete(timer) == 0);
  timer_t quiet;
  CHECK(timer_create(CLOCK_BOOTTIME, &(struct sigevent){.sigev_notify = SIGEV_NONE}, &quiet) == 0);
  CHECK(timer_settime(quiet, 0, &in, NULL) == 0 && timer_gettime(quiet, &now) == 0);
  // A timer on the process's own time.
  rung = 0;
  CHECK(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0);
  CHECK(timer_settime(timer, 0, &in, NULL) == 0);
  uint64_t sum = 0;
  for (int i = 0; rung == 0; i++) sum += computed(10000);
  CHECK(sum != 0 && timer_delete(timer) == 0);

  int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
  uint64_t ticks = 0;
  CHECK(timerfd_settime(fd, 0, &in, &now) == 0 && read(fd, &ticks, 8) == 8 && ticks > 0);
  CHECK(timerfd_gettime(fd, &now) == 0 && now.it_value.tv_nsec <= 1000000);
  struct timespec time, later;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
  time.tv_nsec += 3000000;
  if (time.tv_nsec >= 1000000000) time.tv_sec++, time.tv_nsec -= 1000000000;
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == 0);
  CHECK(clock_gettime(CLOCK_MONOTONIC, &later) == 0);
  CHECK(later.tv_sec > time.tv_sec || later.tv_nsec >= time.tv_nsec);
  clockid_t clocks[] = {CLOCK_REALTIME,          CLOCK_MONOTONIC_RAW,
                        CLOCK_REALTIME_COARSE,   CLOCK_TAI,
                        CLOCK_MONOTONIC_COARSE,  CLOCK_BOOTTIME,
                        CLOCK_THREAD_CPUTIME_ID, CLOCK_PROCESS_CPUTIME_ID};
  int64_t total = 0;
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
    CHECK(clock_gettime(clocks[i], &time) == 0 && clock_getres(clocks[i], &later) == 0);
    total += time.tv_sec ^ time.tv_nsec ^ later.tv_nsec;
  }
  clockid_t of_parent;
  CHECK(total != 0 && clock_getcpuclockid(getppid(), &of_parent) == 0);
  CHECK(clock_gettime(of_parent, &time) == 0);
  struct timex state = {0};
  CHECK(adjtimex(&state) >= 0 && state.tick > 0);
  memset(&state, 0, sizeof state);
  CHECK(clock_adjtime(CLOCK_REALTIME, &state) >= 0 && state.tick > 0);
  struct itimerval interval = {.it_value.tv_sec = 100}, old;
  CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0 && getitimer(ITIMER_REAL, &old) == 0);
  CHECK(old.it_value.tv_sec >= 99 && alarm(0) > 0);
  struct timeval day;
  struct timezone zone;
  CHECK(gettimeofday(&day, &zone) == 0 && day.tv_sec > 1000000);
  return passed();
}
