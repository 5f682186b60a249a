// build: -O1 -pthread -D_GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tasks.h"

// Four threads that do a little of everything, in an order drawn from fixed seeds, under a timer
// and signals of each other. What each computes must not depend on what the others do.
enum { kThreads = 4, kSteps = 150 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[kThreads];
static atomic_int started_all, ended, handled;
static long under_mutex;

static void handler(int number) { handled += number != 0; }

static long use_memory(unsigned* seed) {
  size_t size = 4096 * (1 + (size_t)rand_r(seed) % 16);
  unsigned char* at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(at != MAP_FAILED);
  memset(at, (int)size >> 12, size);
  CHECK(mprotect(at, 4096, PROT_READ) == 0);
  long sum = at[0] + at[size - 1];
  CHECK(munmap(at, size) == 0);
  char* block = malloc(size);
  CHECK(block != NULL);
  memset(block, 3, size);
  sum += block[size / 2];
  free(block);
  return sum;
}

static long use_child(unsigned* seed) {
  int number = rand_r(seed) % 100;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(number);
  return status_of(child);
}

static long use_pipe(void) {
  int own[2];
  char text[32];
  CHECK(pipe(own) == 0 && write(own[1], "some bytes", 10) == 10);
  struct pollfd polled = {own[0], POLLIN, 0};
  while (poll(&polled, 1, -1) != 1) CHECK(errno == EINTR);
  CHECK(read(own[0], text, sizeof text) == 10 && memcmp(text, "some bytes", 10) == 0);
  CHECK(close(own[0]) == 0 && close(own[1]) == 0);
  return 10;
}

static void* mix(void* argument) {
  unsigned seed = (unsigned)(intptr_t)argument + 1;
  long sum = 0;
  started_all++;
  while (started_all < kThreads) sched_yield();
  for (int i = 0; i < kSteps; i++) {
    switch (rand_r(&seed) % 7) {
      case 0:
        sum += use_memory(&seed);
        break;
      case 1:
        if (rand_r(&seed) % 4 == 0) sum += use_child(&seed);
        break;
      case 2:
        sum += use_pipe();
        break;
      case 3:
        sum += (long)(computed((uint64_t)rand_r(&seed) % 60000) % 1000);
        break;
      case 4:
        for (int k = 0; k < 20; k++) {
          pthread_mutex_lock(&mutex);
          under_mutex++;
          pthread_mutex_unlock(&mutex);
        }
        break;
      case 5:
        pthread_kill(threads[rand_r(&seed) % kThreads], i % 2 == 0 ? SIGUSR1 : SIGUSR2);
        break;
      default:
        usleep((useconds_t)(rand_r(&seed) % 300));
    }
  }
  ended++;
  while (ended < kThreads) sched_yield();  // so that all can be sent signals until then
  return (void*)sum;
}

int main(void) {
  struct itimerval every = {{0, 3000}, {0, 3000}}, off = {{0, 0}, {0, 0}};
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  const int numbers[] = {SIGUSR1, SIGUSR2, SIGALRM};
  for (int i = 0; i < 3; i++) CHECK(sigaction(numbers[i], &action, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  for (intptr_t i = 0; i < kThreads; i++) threads[i] = started(mix, (void*)i);
  for (int i = 0; i < kThreads; i++) printf("%ld ", (long)joined(threads[i]));
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0 && handled > 0);
  printf("%ld\n", under_mutex);
  return passed();
}
