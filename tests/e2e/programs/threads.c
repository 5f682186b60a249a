// build: -O0 -no-pie -pthread
// Three threads take turns at a counter, each in a function of its own depth.
#include <pthread.h>
#include <stdio.h>

enum { kThreads = 3, kRounds = 4 };

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
int turn;
int counter;
int own[kThreads];
__thread int rounds_done;

void count(int id, int round) {
  own[id] = round;  // mark: own
  ++counter;        // mark: count
  ++rounds_done;
}

void* work(void* argument) {
  int id = (int)(long)argument;
  for (int round = 1; round <= kRounds; ++round) {
    pthread_mutex_lock(&lock);
    while (turn != id) pthread_cond_wait(&changed, &lock);
    count(id, round);
    turn = (turn + 1) % kThreads;  // mark: pass
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, work, (void*)i);
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);  // mark: join
  printf("%d\n", counter);                                            // mark: joined
  return 0;
}
