// Four threads that count under one mutex, with a little work inside and outside of it.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t total;
static long rounds;

static uint64_t mixed(uint64_t value) {
  for (int i = 0; i < 10; i++) value = (value ^ value >> 29) * 0xbf58476d1ce4e5b9ull;
  return value;
}

static void* count(void* argument) {
  uint64_t value = (uintptr_t)argument;
  for (long i = 0; i < rounds; i++) {
    value = mixed(value);
    pthread_mutex_lock(&mutex);
    total += mixed(total ^ value) & 1;
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

int main(int argc, char** argv) {
  pthread_t threads[4];
  rounds = argc > 1 ? atol(argv[1]) : 1000000;
  for (uintptr_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, count, (void*)(i + 1));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  printf("%llu\n", (unsigned long long)total);
  return 0;
}
