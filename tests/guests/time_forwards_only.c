// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/mman.h>
#include <sys/time.h>

#include "tasks.h"

// No clock runs backwards, from whichever thread or process one looks at it.
static volatile int64_t* last;

static void look(void) {
  struct timeval day;
  struct timespec coarse;
  for (int i = 0; i < 300; i++) {
    int64_t now = now_ns();
    CHECK(now >= *last);
    *last = now;
    CHECK(gettimeofday(&day, NULL) == 0 && day.tv_sec > 1600000000);
    time_t before = time(NULL);
    CHECK(before >= day.tv_sec - 1);
    CHECK(clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse) == 0);
    CHECK(coarse.tv_sec * 1000000000LL + coarse.tv_nsec <= now_ns());
  }
}

static void* look_in_thread(void* argument) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  look();
  pthread_mutex_unlock(&mutex);
  return argument;
}

int main(void) {
  last = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  look();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = started(look_in_thread, NULL);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  pid_t child = forked();
  if (child == 0) {
    look();
    _exit(0);
  }
  CHECK(status_of(child) == 0);
  look();
  struct timespec used;
  CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0 &&
        used.tv_sec * 1000000000LL + used.tv_nsec > 0);
  CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
  return passed();
}
