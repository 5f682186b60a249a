// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

static __thread volatile sig_atomic_t here;
static volatile pid_t handled_by;
static atomic_int ready, counted;
static volatile int done;

static void handler(int number) {
  here += number == SIGUSR1 ? 1 : 100;
  if (number == SIGUSR2) handled_by = own_tid();
}

static void* take_usr1(void* argument) {
  sigset_t all_others;
  sigfillset(&all_others);
  sigdelset(&all_others, SIGUSR1);
  ready++;
  // Blocked but in sigsuspend: a signal cannot come between the look and the wait.
  while (here < 3) sigsuspend(&all_others);
  counted++;
  return argument;
}

static void* take_usr2(void* argument) {
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  CHECK(pthread_sigmask(SIG_UNBLOCK, &usr2, NULL) == 0);
  ready++;
  while (done == 0) sleep_ms(1);
  CHECK(here == 100 && handled_by == own_tid());
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler};
  pthread_t threads[3];
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGUSR1);
  sigaddset(&both, SIGUSR2);
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
  CHECK(pthread_sigmask(SIG_BLOCK, &both, NULL) == 0);
  for (int i = 0; i < 2; i++) threads[i] = started(take_usr1, NULL);
  threads[2] = started(take_usr2, NULL);
  while (ready != 3) sleep_ms(1);
  // The process's signal goes to the only thread that does not block it.
  CHECK(kill(getpid(), SIGUSR2) == 0);
  while (handled_by == 0) sleep_ms(1);
  done = 1;
  while (counted < 2) {
    for (int i = 0; i < 2; i++) pthread_kill(threads[i], SIGUSR1);
    sleep_ms(2);
  }
  for (int i = 0; i < 3; i++) joined(threads[i]);
  CHECK(here == 0);
  return passed();
}
