// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

#include "tasks.h"

// SA_ONSTACK: the handler runs on its own stack, even when the stack is what overflowed.
static char alternate[65536];
static sigjmp_buf back;
static volatile char* volatile where;

static int inside(volatile char* at) {
  return at >= alternate && at < alternate + sizeof alternate;
}

static void handler(int number) {
  volatile char local = 1;
  stack_t now;
  where = &local;
  CHECK(sigaltstack(NULL, &now) == 0 && (now.ss_flags == SS_ONSTACK) == inside(where));
  if (number == SIGSEGV) siglongjmp(back, 1);
}

static __attribute__((noinline)) int overflow(volatile char* above) {
  volatile char block[4096];
  block[0] = above[0];
  return overflow(block) + block[0];
}

int main(void) {
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  struct sigaction on = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  struct sigaction off = {.sa_handler = handler};
  struct rlimit limit = {1 << 20, 1 << 20};
  CHECK(setrlimit(RLIMIT_STACK, &limit) == 0 && sigaltstack(&stack, NULL) == 0);
  CHECK(sigaction(SIGUSR1, &on, NULL) == 0 && sigaction(SIGUSR2, &off, NULL) == 0);
  CHECK(sigaction(SIGSEGV, &on, NULL) == 0);
  CHECK(raise(SIGUSR1) == 0 && inside(where));
  CHECK(raise(SIGUSR2) == 0 && !inside(where));
  for (int i = 0; i < 3; i++) {
    where = NULL;
    if (sigsetjmp(back, 1) == 0) {
      char start = 1;
      overflow(&start);
    }
    CHECK(inside(where));
  }
  return passed();
}
