// build: -O1 -D_GNU_SOURCE -pthread
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "guest.h"

// The old page of calls at a fixed address (vsyscall=xonly or emulate), called in all ways.
typedef int (*Day)(struct timeval*, void*);
typedef time_t (*Seconds)(time_t*);
typedef int (*Core)(unsigned*, unsigned*, void*);

static const uint64_t table[] = {0xffffffffff600000, 0xffffffffff600400, 0xffffffffff600800};
static volatile sig_atomic_t ticks;

static void on_tick(int signal) {
  (void)signal;
  ++ticks;
}

static void on_sigsys(int signal) {
  (void)signal;
  CHECK(!"a SIGSYS of the recorder's");
}

static void call_by_constants(void) {
  struct timeval now = {0};
  CHECK(((Day)0xffffffffff600000)(&now, NULL) == 0 && now.tv_sec > 1000000);
  CHECK(((Seconds)0xffffffffff600400)(NULL) + 1 >= now.tv_sec);  // it counts by ticks
}

static void call_by_table(void) {
  struct timeval now = {0};
  struct timezone zone;
  CHECK(((Day)table[0])(&now, &zone) == 0 && now.tv_sec > 1000000);
  time_t stored = 0;
  const time_t seconds = ((Seconds)table[1])(&stored);
  CHECK(seconds == stored && seconds + 1 >= now.tv_sec);
  unsigned core = ~0u, node = ~0u;
  CHECK(((Core)table[2])(&core, &node, NULL) == 0 && core != ~0u && node != ~0u);
}

static void* call_often(void* unused) {
  for (int i = 0; i < 200; ++i) call_by_table();
  return unused;
}

static void call_with_signals(void) {
  const struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  for (int i = 0; i < 3000 || ticks < 3; ++i) call_by_constants();
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static void keep_sigsys(void) {
  struct sigaction action = {.sa_handler = on_sigsys};
  CHECK(sigaction(SIGSYS, &action, NULL) == 0);
  call_by_table();
  sigset_t set, now;
  sigemptyset(&set);
  sigaddset(&set, SIGSYS);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  call_by_table();
  CHECK(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGSYS) == 1);
  CHECK(sigaction(SIGSYS, NULL, &action) == 0 && action.sa_handler == on_sigsys);
  action.sa_handler = SIG_IGN;
  CHECK(sigaction(SIGSYS, &action, NULL) == 0);
  call_by_table();
  CHECK(sigaction(SIGSYS, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
}

int main(void) {
  char line[256];
  int there = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps)) there |= strstr(line, "[vsyscall]") != NULL;
  fclose(maps);
  if (!there) return skipped();
  call_by_constants();
  call_by_table();
  call_with_signals();
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, call_often, NULL) == 0);
  call_often(NULL);
  CHECK(pthread_join(thread, NULL) == 0);
  const pid_t child = fork();
  if (child == 0) {
    call_by_table();
    _exit(4);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 4);
  keep_sigsys();
  return passed();
}
