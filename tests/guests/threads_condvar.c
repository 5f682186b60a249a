// build: -O1 -pthread -D_GNU_SOURCE
#include "tasks.h"

// Two producers and two consumers on a queue of four places.
enum { kPlaces = 4, kItems = 3000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER;
static int queue[kPlaces], head, filled;

static void* produce(void* argument) {
  for (int i = 1; i <= kItems; i++) {
    pthread_mutex_lock(&mutex);
    while (filled == kPlaces) pthread_cond_wait(&not_full, &mutex);
    queue[(head + filled++) % kPlaces] = i;
    pthread_cond_signal(&not_empty);
    pthread_mutex_unlock(&mutex);
  }
  return argument;
}

static void* consume(void* argument) {
  intptr_t sum = 0;
  (void)argument;
  for (int i = 0; i < kItems; i++) {
    pthread_mutex_lock(&mutex);
    while (filled == 0) pthread_cond_wait(&not_empty, &mutex);
    sum += queue[head];
    head = (head + 1) % kPlaces;
    filled--;
    pthread_cond_broadcast(&not_full);
    pthread_mutex_unlock(&mutex);
  }
  return (void*)sum;
}

int main(void) {
  pthread_t producers[2], consumers[2];
  for (int i = 0; i < 2; i++) consumers[i] = started(consume, NULL);
  for (int i = 0; i < 2; i++) producers[i] = started(produce, NULL);
  for (int i = 0; i < 2; i++) joined(producers[i]);
  CHECK(joined(consumers[0]) + joined(consumers[1]) == (intptr_t)kItems * (kItems + 1));
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_nsec += 1000000;
  deadline.tv_sec += deadline.tv_nsec / 1000000000;
  deadline.tv_nsec %= 1000000000;
  pthread_mutex_lock(&mutex);
  CHECK(pthread_cond_timedwait(&not_empty, &mutex, &deadline) == ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
  return passed();
}
