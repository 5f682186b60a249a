// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include "tasks.h"

// SS_AUTODISARM: the alternate stack is free for others while a handler runs; sigaltstack's errors.
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
static char one[32768], two[32768];
static volatile int where, flags_seen;
static void on_signal(int number) {
  stack_t now;
  char here;
  CHECK(sigaltstack(NULL, &now) == 0);
  flags_seen = now.ss_flags;
  where |= &here >= one && &here < one + sizeof one   ? 1
           : &here >= two && &here < two + sizeof two ? 2
                                                      : 4;
  if (number == SIGUSR1) {
    stack_t other = {.ss_sp = two, .ss_size = sizeof two, .ss_flags = (int)SS_AUTODISARM};
    CHECK(sigaltstack(&other, NULL) == 0);
    raise(SIGUSR2);
  }
}

int main(void) {
  stack_t stack = {.ss_sp = one, .ss_size = sizeof one, .ss_flags = (int)SS_AUTODISARM}, old;
  if (sigaltstack(&stack, NULL) != 0) return skipped();
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGUSR2, &action, NULL) == 0);
  CHECK(raise(SIGUSR1) == 0 && where == 3);
  CHECK(sigaltstack(NULL, &old) == 0 && old.ss_sp == one &&
        ((unsigned)old.ss_flags & SS_AUTODISARM));
  stack.ss_size = 16;
  CHECK(sigaltstack(&stack, NULL) == -1 && errno == ENOMEM);
  stack.ss_flags = 77;
  CHECK(sigaltstack(&stack, NULL) == -1 && errno == EINVAL);
  return passed();
}
