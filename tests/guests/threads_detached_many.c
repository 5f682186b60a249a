// build: -O1 -pthread -D_GNU_SOURCE
#include <semaphore.h>

#include "tasks.h"

static sem_t places;
static atomic_int ran;

static void* run(void* argument) {
  ran += (int)(intptr_t)argument;
  sem_post(&places);
  return NULL;
}

int main(void) {
  pthread_attr_t attributes;
  CHECK(pthread_attr_init(&attributes) == 0);
  CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
  CHECK(sem_init(&places, 0, 20) == 0);
  for (intptr_t i = 0; i < 1000; i++) {
    pthread_t thread;
    while (sem_wait(&places) != 0) CHECK(errno == EINTR);
    int error;
    while ((error = pthread_create(&thread, &attributes, run, (void*)i)) == EAGAIN) sleep_ms(1);
    CHECK(error == 0);
  }
  for (int i = 0; i < 20; i++) CHECK(sem_wait(&places) == 0);
  CHECK(ran == 499500);
  return passed();
}
