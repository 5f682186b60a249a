// build: -O1 -D_GNU_SOURCE
#include <linux/membarrier.h>
#include "tasks.h"

// membarrier's commands with threads running, futex_waitv, and futexes by bitset and requeue.
#include <linux/futex.h>

static volatile uint32_t word, other;
static volatile int woken;
static void* sleeper(void* mask) {
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (uint32_t)(uintptr_t)mask);
  __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

struct waitv {
  uint64_t value, address;
  uint32_t flags, reserved;
};
static void* wait_many(void* unused) {
  (void)unused;
  struct waitv list[2] = {{0, (uintptr_t)&word, 2 | 128, 0}, {0, (uintptr_t)&other, 2 | 128, 0}};
  long which = syscall(449, list, 2, 0, NULL, 0);
  return (void*)(which >= 0 ? which : -(long)errno);
}

int main(void) {
  long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  pthread_t threads[4];
  for (int i = 0; i < 3; i++) threads[i] = started(sleeper, (void*)(uintptr_t)(1u << i));
  sleep_ms(10);
  if (commands & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
  }
  while (syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2) != 1)
    sched_yield();
  joined(threads[1]);
  CHECK(woken == 1);
  CHECK(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void*)10, &other, 0) == 2);
  CHECK(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 0);
  other = 5;
  CHECK(syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, (void*)10, &other,
                FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)) == 2);
  CHECK(other == 8);
  joined(threads[0]), joined(threads[2]);
  other = 0;
  threads[3] = started(wait_many, NULL);
  long result;
  do {
    sleep_ms(1);
    result = syscall(SYS_futex, &other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    if (pthread_tryjoin_np(threads[3], (void**)&result) == 0) break;
  } while (result != 1);
  return passed();
}
