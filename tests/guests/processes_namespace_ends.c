// build: -O1 -pthread -D_GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include "namespaces.h"
#include "tasks.h"

// The end of the first process of a pid namespace kills the others in it, and is over when they
// have ended and their parents have heard of it (kernel/pid_namespace.c, zap_pid_ns_processes):
// they sleep, compute, and one is the child of a process outside, which has to wait for it.
static void* end_all(void* argument) {
  sleep_ms(2);
  (void)argument;
  _exit(5);
}

static void sleeping(void) {
  if (fork() == 0) {
    for (;;) pause();
  }
}

static void computing(void) {
  if (fork() == 0) {
    for (volatile long i = 0;; i++) {
    }
  }
}

// Ends as first process of the namespace that was made last.
static void first(int others) {
  if ((others & 1) != 0) sleeping();
  if ((others & 2) != 0) computing();
  if ((others & 4) != 0 && fork() == 0) {
    setsid();
    sleeping();
    for (;;) pause();
  }
  if ((others & 8) != 0) {
    joined(started(end_all, NULL));
  }
  sleep_ms(5);
  _exit(5);
}

// With namespaces of its own, whose first process ends in front of `others`.
static void check(int others) {
  pid_t maker = forked();
  if (maker == 0) {
    CHECK(unshare(CLONE_NEWPID) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) first(others);
    pid_t beside = -1;
    if ((others & 16) != 0) {
      beside = fork();
      if (beside == 0) {
        for (;;) pause();
      }
    }
    if (beside > 0) {
      CHECK(status_of(beside) == 128 + SIGKILL);
      computed(1000000);
    }
    CHECK(status_of(child) == 5);
    _exit(6);
  }
  CHECK(status_of(maker) == 6);
}

int main(void) {
  if (!became_root_of_namespace()) return skipped();
  check(1);
  check(2);
  check(1 | 2 | 4);
  check(1 | 8);
  check(1 | 16);
  check(2 | 8 | 16);
  return passed();
}
