// build: -O1 -D_GNU_SOURCE
#include "tasks.h"

// Waits that end by time while another thread computes and stores: their events come in the middle
// of what that one does.
#define WORDS (1 << 12)
static volatile uint64_t words[2][WORDS];
static atomic_int over;

static void* work(void* which) {
  volatile uint64_t* mine = words[(intptr_t)which];
  uint64_t value = 1;
  while (!over) {
    for (int i = 0; i < WORDS; i++) {
      value = value * 6364136223846793005ull + 1442695040888963407ull;
      mine[i] += value >> 7;
    }
  }
  return NULL;
}

int main(void) {
  pthread_t one = started(work, (void*)0), two = started(work, (void*)1);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t never = PTHREAD_COND_INITIALIZER;
  for (int i = 0; i < 12; i++) {
    struct timespec until;
    CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
    until.tv_nsec += 3000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK(pthread_cond_timedwait(&never, &mutex, &until) == ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
  }
  over = 1;
  CHECK(joined(one) == 0 && joined(two) == 0);
  return passed();
}
