// For guests with threads and children.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

static inline pthread_t started(void* (*body)(void*), void* argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, argument) == 0);
  return thread;
}

static inline intptr_t joined(pthread_t thread) {
  void* result;
  CHECK(pthread_join(thread, &result) == 0);
  return (intptr_t)result;
}

static inline pid_t own_tid(void) { return (pid_t)syscall(SYS_gettid); }

// A child must leave with _exit: what stdio holds is the parent's.
static inline pid_t forked(void) {
  fflush(stdout);
  pid_t child = fork();
  CHECK(child >= 0);
  return child;
}

// Waits for a child. Its exit status, or 128 + the signal that ended it.
static inline int status_of(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) != child) CHECK(errno == EINTR);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int64_t now_ns(void) {
  struct timespec now;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void sleep_ms(long milliseconds) {
  struct timespec rest = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&rest, &rest) != 0) CHECK(errno == EINTR);
}

// Computes without a system call; the same result for the same count.
static inline uint64_t computed(uint64_t rounds) {
  uint64_t value = 88172645463325252ull;
  for (uint64_t i = 0; i < rounds; i++) {
    value ^= value << 13;
    value ^= value >> 7;
    value ^= value << 17;
  }
  return value;
}
