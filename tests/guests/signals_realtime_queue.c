// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Queued with their values, in the order of their numbers and, of one number, of their sending.
static volatile int values[64], numbers[64], count;

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  numbers[count] = number - SIGRTMIN;
  values[count++] = info->si_value.sival_int;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigset_t all, before;
  sigfillset(&action.sa_mask);
  for (int i = 0; i < 3; i++) CHECK(sigaction(SIGRTMIN + i, &action, NULL) == 0);
  sigfillset(&all);
  CHECK(sigprocmask(SIG_BLOCK, &all, &before) == 0);
  for (int i = 0; i < 30; i++)
    CHECK(sigqueue(getpid(), SIGRTMIN + 2 - i % 3, (union sigval){.sival_int = i}) == 0);
  CHECK(count == 0 && sigprocmask(SIG_SETMASK, &before, NULL) == 0);
  CHECK(count == 30);
  for (int i = 0; i < 30; i++) {
    printf("%d:%d ", numbers[i], values[i]);
    CHECK(numbers[i] == i / 10 && values[i] == i % 10 * 3 + 2 - i / 10);
  }
  puts("");

  // From a child while this process computes: none is lost, none overtakes.
  count = 0;
  pid_t child = forked();
  if (child == 0) {
    for (int i = 0; i < 60; i++) {
      sigqueue(getppid(), SIGRTMIN, (union sigval){.sival_int = i});
      if (i % 7 == 0) sleep_ms(1);
    }
    _exit(0);
  }
  uint64_t expected = computed(1000);
  for (int i = 0; i < 5000; i++) CHECK(computed(1000) == expected);
  CHECK(status_of(child) == 0 && count == 60);
  for (int i = 0; i < 60; i++) CHECK(values[i] == i);
  return passed();
}
