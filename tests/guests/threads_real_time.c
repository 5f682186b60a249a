// build: -O1 -D_GNU_SOURCE -pthread
#include <sched.h>
#include <sys/resource.h>

#include "tasks.h"

// Threads with real-time scheduling that wait for each other in loops, without a call.
static atomic_int turn;

static void* take_turns(void* argument) {
  const int own = (int)(intptr_t)argument;
  for (int i = 0; i < 200; i++) {
    while (atomic_load(&turn) != own) {
    }
    atomic_store(&turn, !own);
  }
  return NULL;
}

int main(void) {
  struct sched_param parameter = {.sched_priority = 10};
  CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
  if (sched_setscheduler(0, SCHED_FIFO, &parameter) != 0) return skipped();
  CHECK(sched_getscheduler(0) == SCHED_FIFO);
  parameter.sched_priority = 0;
  CHECK(sched_getparam(0, &parameter) == 0 && parameter.sched_priority == 10);
  const pthread_t one = started(take_turns, (void*)0), other = started(take_turns, (void*)1);
  joined(one), joined(other);

  parameter.sched_priority = 20;
  CHECK(sched_setparam(0, &parameter) == 0);
  const pid_t child = forked();
  if (child == 0) {
    CHECK(sched_getscheduler(0) == SCHED_FIFO && sched_getparam(0, &parameter) == 0);
    _exit(parameter.sched_priority);
  }
  CHECK(status_of(child) == 20);
  CHECK(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameter) == 0);
  CHECK(sched_getscheduler(0) == (SCHED_RR | SCHED_RESET_ON_FORK));
  const pid_t usual = forked();
  if (usual == 0) _exit(sched_getscheduler(0) == SCHED_OTHER ? 0 : 1);
  CHECK(status_of(usual) == 0);
  parameter.sched_priority = 100;
  CHECK(sched_setparam(0, &parameter) == -1 && errno == EINVAL);
  parameter.sched_priority = 0;
  CHECK(sched_setscheduler(0, SCHED_OTHER, &parameter) == 0);
  CHECK(sched_getscheduler(0) == SCHED_OTHER && sched_getparam(0, &parameter) == 0);
  CHECK(parameter.sched_priority == 0 && getpriority(PRIO_PROCESS, 0) == 5);
  return passed();
}
