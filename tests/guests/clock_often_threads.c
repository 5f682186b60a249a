// build: -O1 -D_GNU_SOURCE -pthread
#include <signal.h>

#include "tasks.h"

// Threads that read the clock without stops, and spin, sleep, signal and wait for each other.
enum { kThreads = 3, kRounds = 2000 };

static _Atomic int64_t latest;
static _Atomic int turn, handled;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t under_mutex;

static void on_signal(int number) {
  (void)number;
  (void)now_ns();
  handled++;
}

// The clock of all threads runs forwards.
static void look(void) {
  const int64_t before = latest, now = now_ns();
  CHECK(now >= before);
  latest = now;
}

static void* spinning(void* argument) {
  const int own = (int)(intptr_t)argument;
  for (int i = 0; i < kRounds; i++) {
    look();
    if (i % 100 == 0) {
      CHECK(pthread_mutex_lock(&mutex) == 0);
      under_mutex++;
      look();
      CHECK(pthread_mutex_unlock(&mutex) == 0);
    }
    if (i % 700 == 0) sleep_ms(1);
  }
  // Wait for one's turn by the clock alone.
  while (turn != own) look();
  turn = own + 1;
  return NULL;
}

int main(void) {
  signal(SIGUSR1, on_signal);
  pthread_t threads[kThreads];
  for (int i = 0; i < 500; i++) look();
  for (int i = 0; i < kThreads; i++) threads[i] = started(spinning, (void*)(intptr_t)(i + 1));
  for (int i = 0; i < 60; i++) {
    look();
    CHECK(pthread_kill(threads[i % kThreads], SIGUSR1) == 0);
    if (i % 10 == 0) sleep_ms(1);
  }
  turn = 1;
  while (turn != kThreads + 1) look();
  for (int i = 0; i < kThreads; i++) joined(threads[i]);
  CHECK(under_mutex == kThreads * (kRounds / 100) && handled > 0);
  return passed();
}
