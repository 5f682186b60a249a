// build: -O1 -pthread -D_GNU_SOURCE
#include <semaphore.h>

#include "tasks.h"

// Three threads write to the output in turns.
static sem_t turns[3];

static void* say(void* argument) {
  int self = (int)(intptr_t)argument;
  for (int i = 0; i < 50; i++) {
    while (sem_wait(&turns[self]) != 0) CHECK(errno == EINTR);
    printf("%c%d ", 'a' + self, i);
    fflush(stdout);
    sem_post(&turns[(self + 1) % 3]);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) CHECK(sem_init(&turns[i], 0, i == 0) == 0);
  for (intptr_t i = 0; i < 3; i++) threads[i] = started(say, (void*)i);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  puts("");
  return passed();
}
