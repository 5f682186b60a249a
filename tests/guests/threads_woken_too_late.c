// build: -O1 -pthread -D_GNU_SOURCE
#include <linux/futex.h>

#include "tasks.h"

// One thread wakes another for work and soon stops it again, for ever: what is woken gets to its
// work only if it goes before the one that has run for so much longer.
static int stop, stopped, woken, done;

static void wait_for(int* word) {
  while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == 0) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  }
  __atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
}

static void wake(int* word) {
  __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void* works(void* unused) {
  for (;;) {
    wait_for(&woken);
    if (__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
      wake(&stopped);
    } else {
      __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
      wake(&stopped);
      return unused;
    }
  }
}

int main(void) {
  pthread_t thread = started(works, NULL);
  for (;;) {
    __atomic_store_n(&stop, 0, __ATOMIC_SEQ_CST);
    wake(&woken);
    for (volatile int i = 0; i < 200000; i++) {
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    wait_for(&stopped);
    if (__atomic_load_n(&done, __ATOMIC_SEQ_CST)) break;
  }
  CHECK(pthread_join(thread, NULL) == 0);
  return passed();
}
