// build: -O1 -D_GNU_SOURCE
#include <semaphore.h>
#include <signal.h>
#include "tasks.h"

// Cancellation: deferred in calls, asynchronous in a loop, disabled, with handlers that clean up;
// keys' destructors; pthread_exit of main's helpers; pthread_atfork, pthread_once, timed joins.
static volatile int cleaned, destroyed, prepared;
static pthread_key_t key;
static void clean(void* by) { cleaned += (int)(intptr_t)by; }
static void destroy(void* value) { destroyed += (int)(intptr_t)value; }
static void* in_read(void* fd) {
  char byte;
  pthread_cleanup_push(clean, (void*)1);
  pthread_setspecific(key, (void*)10);
  (void)!read((int)(intptr_t)fd, &byte, 1);
  pthread_cleanup_pop(0);
  return NULL;
}

static void* in_loop(void* ready) {
  int old;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
  pthread_cleanup_push(clean, (void*)100);
  *(volatile int*)ready = 1;
  for (volatile unsigned long i = 0;; i++) continue;
  pthread_cleanup_pop(0);
  return NULL;
}

static void* disabled(void* ready) {
  int old;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
  *(volatile int*)ready = 1;
  sleep_ms(5);
  cleaned += 1000;
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
  pthread_testcancel();
  return (void*)7;
}

static void before(void) { prepared += 1; }
static void in_parent(void) { prepared += 10; }
static void in_child(void) { prepared += 100; }
static void* wait_condition(void* arguments) {
  pthread_mutex_t* mutex = ((void**)arguments)[0];
  pthread_cond_t* condition = ((void**)arguments)[1];
  pthread_mutex_lock(mutex);
  pthread_cleanup_push((void (*)(void*))pthread_mutex_unlock, mutex);
  *(volatile int*)((void**)arguments)[2] = 1;
  for (;;) pthread_cond_wait(condition, mutex);
  pthread_cleanup_pop(1);
  return NULL;
}

int main(void) {
  int ends[2];
  void* result;
  CHECK(pipe(ends) == 0 && pthread_key_create(&key, destroy) == 0);
  pthread_t thread = started(in_read, (void*)(intptr_t)ends[0]);
  sleep_ms(2);
  CHECK(pthread_cancel(thread) == 0 && joined(thread) == (intptr_t)PTHREAD_CANCELED);
  CHECK(cleaned == 1 && destroyed == 10);
  volatile int ready = 0;
  thread = started(in_loop, (void*)&ready);
  while (!ready) sched_yield();
  CHECK(pthread_cancel(thread) == 0 && joined(thread) == (intptr_t)PTHREAD_CANCELED);
  CHECK(cleaned == 101);
  ready = 0;
  thread = started(disabled, (void*)&ready);
  while (!ready) sched_yield();
  CHECK(pthread_cancel(thread) == 0 && joined(thread) == (intptr_t)PTHREAD_CANCELED);
  CHECK(cleaned == 1101);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  ready = 0;
  void* arguments[3] = {&mutex, &condition, (void*)&ready};
  thread = started(wait_condition, arguments);
  while (!ready) sched_yield();
  CHECK(pthread_cancel(thread) == 0 && joined(thread) == (intptr_t)PTHREAD_CANCELED);
  CHECK(pthread_mutex_trylock(&mutex) == 0);
  CHECK(pthread_atfork(before, in_parent, in_child) == 0);
  pid_t child = forked();
  if (child == 0) _exit(prepared);
  CHECK(status_of(child) == 101 && prepared == 11);
  struct timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  thread = started(in_read, (void*)(intptr_t)ends[0]);
  CHECK(pthread_timedjoin_np(thread, &result, &soon) == ETIMEDOUT &&
        pthread_tryjoin_np(thread, &result) == EBUSY);
  CHECK(pthread_kill(thread, 0) == 0 && write(ends[1], "x", 1) == 1 && joined(thread) == 0);
  return passed();
}
