// build: -O1 -pthread -D_GNU_SOURCE
#include <semaphore.h>
#include <signal.h>

#include "tasks.h"

// pthread_sigqueue: values to one thread, in order, while it waits in a semaphore (sem_wait(3):
// EINTR even with SA_RESTART is for old kernels; both are allowed here).
static __thread int here;
static volatile int values[40], count, in_other;
static pthread_t receiver;
static sem_t go, end;

static void handler(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (here == 0) in_other = 1;
  values[count++] = info->si_value.sival_int;
}

static void* receive(void* argument) {
  here = 1;
  sem_post(&go);
  while (sem_wait(&end) != 0) CHECK(errno == EINTR);
  return argument;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigfillset(&action.sa_mask);
  CHECK(sigaction(SIGRTMIN + 3, &action, NULL) == 0);
  CHECK(sem_init(&go, 0, 0) == 0 && sem_init(&end, 0, 0) == 0);
  receiver = started(receive, NULL);
  while (sem_wait(&go) != 0) CHECK(errno == EINTR);
  for (int i = 0; i < 40; i++) {
    CHECK(pthread_sigqueue(receiver, SIGRTMIN + 3, (union sigval){.sival_int = i}) == 0);
    if (i % 8 == 0) sleep_ms(1);
  }
  while (count < 40) sleep_ms(1);
  sem_post(&end);
  joined(receiver);
  for (int i = 0; i < 40; i++) CHECK(values[i] == i);
  CHECK(in_other == 0);
  return passed();
}
