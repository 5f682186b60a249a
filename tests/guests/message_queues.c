// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>

#include "tasks.h"

// POSIX message queues: priorities, timeouts, attributes, a notification by signal.
static volatile int notified;
static void on_message(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  notified = info->si_value.sival_int + (info->si_code == SI_MESGQ ? 0 : 1000);
}

int main(void) {
  char name[64], text[64];
  unsigned priority = 0;
  snprintf(name, sizeof name, "/rchk-guest-%d", getpid());
  struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = sizeof text}, seen;
  mqd_t queue = mq_open(name, O_CREAT | O_RDWR | O_EXCL, 0600, &attributes);
  if (queue == -1) return skipped();
  CHECK(mq_getattr(queue, &seen) == 0 && seen.mq_maxmsg == 4 && seen.mq_curmsgs == 0);
  CHECK(mq_send(queue, "low", 4, 1) == 0 && mq_send(queue, "high", 5, 9) == 0);
  CHECK(mq_receive(queue, text, sizeof text, &priority) == 5 && priority == 9);
  CHECK(strcmp(text, "high") == 0);
  CHECK(mq_receive(queue, text, sizeof text, NULL) == 4 && strcmp(text, "low") == 0);
  struct timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_nsec = (soon.tv_nsec + 20000000) % 1000000000, soon.tv_sec += soon.tv_nsec < 20000000;
  CHECK(mq_timedreceive(queue, text, sizeof text, NULL, &soon) == -1 && errno == ETIMEDOUT);

  struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  struct sigevent event = {
      .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
  CHECK(mq_notify(queue, &event) == 0);
  pid_t child = forked();
  if (child == 0) {
    CHECK(mq_send(queue, "from the child", 15, 3) == 0);
    _exit(0);
  }
  CHECK(status_of(child) == 0 && notified == 77);
  CHECK(mq_receive(queue, text, sizeof text, &priority) == 15 && priority == 3);
  attributes.mq_flags = O_NONBLOCK;
  CHECK(mq_setattr(queue, &attributes, &seen) == 0 && seen.mq_flags == 0);
  CHECK(mq_receive(queue, text, sizeof text, NULL) == -1 && errno == EAGAIN);
  CHECK(mq_close(queue) == 0 && mq_unlink(name) == 0);
  return passed();
}
