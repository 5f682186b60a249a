// build: -O0 -pthread
// varies: what the loops come to
// Two threads, of which one makes way for the other all the time.
#include <pthread.h>
#include <sched.h>

volatile long spins, sum;
volatile int ended;

void hit(int i) {
  sum += i;  // mark: hit
  sched_yield();
  sum++;
}

void* body(void* unused) {
  for (int i = 0; i < 300; i++) {
    hit(i);
  }
  ended = 1;
  return unused;
}

int main(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, body, NULL);
  while (!ended) {
    spins++;
    if (spins % 50 == 0) sched_yield();
  }
  pthread_join(thread, NULL);
  return 0;
}
