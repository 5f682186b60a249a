// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>

#include "tasks.h"

// POSIX message queues with priorities and a signal on arrival; named semaphores.
static volatile int notified;

static void handler(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (info->si_code == SI_MESGQ) notified = info->si_value.sival_int;
}

int main(void) {
  char queue_name[32], semaphore_name[32], text[64];
  unsigned priority;
  struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 64};
  snprintf(queue_name, sizeof queue_name, "/guest-queue-%d", getpid());
  snprintf(semaphore_name, sizeof semaphore_name, "/guest-semaphore-%d", getpid());
  mqd_t queue = mq_open(queue_name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
  if (queue == (mqd_t)-1) return skipped();
  sem_t* semaphore = sem_open(semaphore_name, O_CREAT | O_EXCL, 0600, 0);
  CHECK(semaphore != SEM_FAILED);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
  struct sigevent event = {
      .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 31};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && mq_notify(queue, &event) == 0);
  pid_t child = forked();
  if (child == 0) {
    sem_t* same = sem_open(semaphore_name, 0);
    mqd_t own = mq_open(queue_name, O_WRONLY);
    CHECK(mq_send(own, "low", 4, 1) == 0 && mq_send(own, "high", 5, 9) == 0);
    CHECK(sem_post(same) == 0);
    _exit(0);
  }
  while (sem_wait(semaphore) != 0) CHECK(errno == EINTR);
  CHECK(mq_receive(queue, text, sizeof text, &priority) == 5 && priority == 9);
  CHECK(mq_receive(queue, text, sizeof text, &priority) == 4 && strcmp(text, "low") == 0);
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  CHECK(mq_timedreceive(queue, text, sizeof text, NULL, &deadline) == -1 && errno == ETIMEDOUT);
  CHECK(status_of(child) == 0 && notified == 31);
  CHECK(mq_unlink(queue_name) == 0 && sem_unlink(semaphore_name) == 0);
  return passed();
}
