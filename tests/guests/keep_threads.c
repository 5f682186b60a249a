// build: -O1 -D_GNU_SOURCE -pthread
// args: 150
// varies: how often it goes round depends on the time
#include <signal.h>

#include "tasks.h"

// Threads for so many milliseconds: two hand a number to and fro, one sleeps again and again and
// gets signals, one waits in a call all the time, and others come and go.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long number;
static int ends;
static int never[2];
static _Atomic long handled;
static __thread long own;

static void on_signal(int number) { handled += number == SIGUSR2; }

static void* plays(void* argument) {
  const long parity = (long)argument;
  pthread_mutex_lock(&lock);
  while (!ends) {
    if (number % 2 != parity) {
      pthread_cond_wait(&changed, &lock);
      continue;
    }
    number++;
    own++;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
  return (void*)own;
}

static void* sleeps(void* argument) {
  (void)argument;
  for (;;) {
    pthread_mutex_lock(&lock);
    const int done = ends;
    pthread_mutex_unlock(&lock);
    if (done) return (void*)own;
    own++;
    sleep_ms(2);
  }
}

static void* waits(void* argument) {
  char byte = 0;
  CHECK(read(never[0], &byte, 1) == 1);
  CHECK(argument == &never && byte == 'e');
  return (void*)1;
}

static void* adds(void* argument) { return (void*)((long)argument + 1); }

int main(int argc, char** argv) {
  CHECK(argc == 2);
  const int64_t end_ns = now_ns() + atol(argv[1]) * 1000000;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  CHECK(pipe(never) == 0);
  pthread_t threads[] = {started(plays, (void*)0), started(plays, (void*)1), started(sleeps, NULL),
                         started(waits, &never)};
  long sent = 0;
  for (long round = 0; now_ns() < end_ns; round++) {
    sleep_ms(1);
    if (round % 5 == 0) sent += pthread_kill(threads[2], SIGUSR2) == 0;
    if (round % 20 == 0) {
      CHECK(joined(started(adds, (void*)round)) == round + 1);
      printf("round %ld\n", round);
      fflush(stdout);
    }
  }
  pthread_mutex_lock(&lock);
  ends = 1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  CHECK(write(never[1], "e", 1) == 1);
  const long played = joined(threads[0]) + joined(threads[1]);
  CHECK(played == number && joined(threads[2]) > 0 && joined(threads[3]) == 1);
  CHECK(handled > 0 && handled <= sent);
  passed();
  return 0;
}
