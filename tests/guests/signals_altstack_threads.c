// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

// Each thread has an alternate stack of its own or none; SS_AUTODISARM takes it away for the
// handler and gives it back (sigaltstack(2)).
static __thread char* own;
static __thread volatile int on_own, disarmed;

static void handler(int number) {
  volatile char local = (char)number;
  stack_t now;
  CHECK(sigaltstack(NULL, &now) == 0);
  on_own = own != NULL && (char*)&local >= own && (char*)&local < own + 65536;
  disarmed = now.ss_flags == SS_DISABLE;
}

static void* with_stack(void* argument) {
  stack_t now;
  CHECK(sigaltstack(NULL, &now) == 0 && now.ss_flags == SS_DISABLE);
  own = malloc(65536);
  int autodisarm = argument == NULL ? 0 : (int)(1u << 31);
  stack_t stack = {.ss_sp = own, .ss_size = 65536, .ss_flags = autodisarm};
  CHECK(sigaltstack(&stack, NULL) == 0);
  for (int i = 0; i < 20; i++) {
    on_own = 0;
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0 && on_own == 1);
    CHECK(disarmed == (argument != NULL));
  }
  CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == own && now.ss_flags == autodisarm);
  stack.ss_flags = SS_DISABLE;
  CHECK(sigaltstack(&stack, NULL) == 0);
  free(own);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  pthread_t threads[3] = {started(with_stack, NULL), started(with_stack, &action),
                          started(with_stack, NULL)};
  CHECK(raise(SIGUSR1) == 0 && on_own == 0);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  return passed();
}
