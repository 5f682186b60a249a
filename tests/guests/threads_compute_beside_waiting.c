// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

#include <poll.h>

// One thread computes for long without a call, while others wait in calls: snapshots come all the
// same. Some of those calls end meanwhile.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static int is_done, ends[2];

static void* wait_for_end(void* argument) {
  pthread_mutex_lock(&mutex);
  while (!is_done) pthread_cond_wait(&done, &mutex);
  pthread_mutex_unlock(&mutex);
  return argument;
}

static void* read_byte(void* argument) {
  char byte;
  CHECK(read(ends[0], &byte, 1) == 1);
  return argument;
}

static void* poll_for_byte(void* argument) {
  struct pollfd both[2] = {{ends[0], POLLIN, 0}, {-1, POLLIN, 0}};
  while (poll(both, 2, 170) == 0) {
  }
  return argument;
}

static void* sleep_often(void* argument) {
  const struct timespec moment = {0, 50000000};
  for (int i = 0; i < 5; i++) CHECK(nanosleep(&moment, NULL) == 0);
  return argument;
}

int main(void) {
  static uint32_t table[1 << 16];
  static void* (*const waits[])(void*) = {wait_for_end, read_byte, poll_for_byte, sleep_often};
  pthread_t threads[4];
  CHECK(pipe(ends) == 0);
  for (int i = 0; i < 4; i++) threads[i] = started(waits[i], NULL);
  uint32_t seed = 1;
  for (int i = 0; i < 150000000; ++i) {
    seed = seed * 1664525 + 1013904223;
    table[seed >> 16] ^= seed;
  }
  CHECK(write(ends[1], "ab", 2) == 2);
  pthread_mutex_lock(&mutex);
  is_done = 1;
  pthread_cond_signal(&done);
  pthread_mutex_unlock(&mutex);
  for (int i = 0; i < 4; i++) joined(threads[i]);
  uint32_t sum = 0;
  for (int i = 0; i < 1 << 16; ++i) sum = sum * 31 + table[i];
  printf("%08x ", sum);
  return passed();
}
