// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <x86intrin.h>

#include "tasks.h"

// SIGSEGV and SIGTRAP blocked, ignored or in their own handlers while RDTSC and CPUID run and
// lazily bound functions are called: the recorder's own traps leave mask and handlers alone.
static volatile int hits;
static uint64_t ticks;

static void on_trap(int number) {
  hits++;
  ticks += __rdtsc();
  (void)labs(-number);
}

static int is_blocked(int number) {
  sigset_t set;
  sigprocmask(SIG_BLOCK, NULL, &set);
  return sigismember(&set, number);
}

static void* blocked_all(void* unused) {
  (void)unused;
  sigset_t all;
  sigfillset(&all);
  CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  ticks += __rdtsc();
  CHECK(atoi("7") == 7 && is_blocked(SIGSEGV) && is_blocked(SIGTRAP));
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_trap, .sa_flags = SA_RESTART}, seen;
  CHECK(sigaction(SIGTRAP, &action, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
  __asm__ volatile("int3");
  CHECK(raise(SIGSEGV) == 0 && raise(SIGTRAP) == 0 && hits == 3);
  CHECK(sigaction(SIGTRAP, NULL, &seen) == 0 && seen.sa_handler == on_trap);
  CHECK(sigaction(SIGSEGV, NULL, &seen) == 0 && seen.sa_handler == on_trap);
  CHECK(seen.sa_flags & SA_RESTART);
  (void)joined(started(blocked_all, NULL));
  sigset_t both;
  sigemptyset(&both), sigaddset(&both, SIGSEGV), sigaddset(&both, SIGTRAP);
  CHECK(sigprocmask(SIG_BLOCK, &both, NULL) == 0);
  ticks += __rdtsc();
  CHECK(atol("12") == 12 && is_blocked(SIGSEGV) && is_blocked(SIGTRAP));
  CHECK(sigaction(SIGSEGV, NULL, &seen) == 0 && seen.sa_handler == on_trap);
  CHECK(sigprocmask(SIG_UNBLOCK, &both, NULL) == 0);
  signal(SIGSEGV, SIG_IGN), signal(SIGTRAP, SIG_IGN);
  ticks += __rdtsc();
  CHECK(strtol("12", NULL, 8) == 10);
  CHECK(sigaction(SIGSEGV, NULL, &seen) == 0 && seen.sa_handler == SIG_IGN);
  CHECK(sigaction(SIGTRAP, NULL, &seen) == 0 && seen.sa_handler == SIG_IGN);
  pid_t child = forked();
  if (child == 0) {
    ticks += __rdtsc();
    CHECK(sigaction(SIGSEGV, NULL, &seen) == 0 && seen.sa_handler == SIG_IGN);
    _exit(raise(SIGSEGV) == 0 ? 4 : 5);
  }
  CHECK(status_of(child) == 4 && ticks != 0);
  return passed();
}
