// build: -O1 -pthread -D_GNU_SOURCE
#include <linux/futex.h>

#include "tasks.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static uint32_t word, other, third;
static atomic_int waiting, woken;

static long futex(uint32_t* at, int operation, uint32_t value, const void* timeout,
                  uint32_t* second, uint32_t bits) {
  return syscall(SYS_futex, at, operation, value, timeout, second, bits);
}

static void* wait_plain(void* argument) {
  waiting++;
  while (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) != 0) CHECK(errno == EINTR);
  woken += (int)(intptr_t)argument;
  return NULL;
}

static void* wait_bits(void* argument) {
  uint32_t bits = (uint32_t)(intptr_t)argument;
  waiting++;
  while (futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, bits) != 0) CHECK(errno == EINTR);
  woken += (int)bits;
  return NULL;
}

static void* wait_vector(void* argument) {
  struct futex_waitv vector[2] = {{0, (uintptr_t)&word, FUTEX_32 | FUTEX_PRIVATE_FLAG, 0},
                                  {0, (uintptr_t)&third, FUTEX_32 | FUTEX_PRIVATE_FLAG, 0}};
  waiting++;
  CHECK(syscall(SYS_futex_waitv, vector, 2, 0, NULL, 0) == 1);
  woken++;
  return argument;
}

static void all_wait(int count) {
  while (waiting != count) sleep_ms(1);
  sleep_ms(10);  // from the counter to the sleep in the kernel
}

static void wake_all_of(uint32_t* at, int count) {
  int done = 0;
  while (done < count) {
    done += (int)futex(at, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
    if (done < count) sleep_ms(1);
  }
  CHECK(done == count);
}

static void requeue(void) {
  pthread_t threads[3];
  waiting = woken = 0;
  for (intptr_t i = 0; i < 3; i++) threads[i] = started(wait_plain, (void*)1);
  all_wait(3);
  CHECK(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)2, &other, 7) == -1 && errno == EAGAIN);
  CHECK(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)2, &other, 0) == 3);
  CHECK(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0) == 0);
  wake_all_of(&other, 2);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  CHECK(woken == 3);
}

static void bitset(void) {
  waiting = woken = 0;
  pthread_t two = started(wait_bits, (void*)2), four = started(wait_bits, (void*)4);
  all_wait(2);
  CHECK(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 4) == 1);
  joined(four);
  CHECK(woken == 4);
  CHECK(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 6) == 1);
  joined(two);
  CHECK(woken == 6);
}

static void wake_op(void) {
  waiting = woken = 0;
  other = 5;
  pthread_t thread = started(wait_plain, (void*)1);
  all_wait(1);
  // Adds 3 to `other` in the kernel, wakes at `word`, and at `other` if it was above 100.
  int operation = FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 100);
  CHECK(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void*)1, &other, operation) == 1 && other == 8);
  joined(thread);
}

int main(void) {
  struct timespec moment = {0, 2000000};
  CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0) == -1 && errno == EAGAIN);
  CHECK(futex(&word, FUTEX_WAIT_PRIVATE, 0, &moment, NULL, 0) == -1 && errno == ETIMEDOUT);
  requeue();
  bitset();
  wake_op();
  waiting = woken = 0;
  struct futex_waitv none;
  if (syscall(SYS_futex_waitv, &none, 0, 0, NULL, 0) == -1 && errno != ENOSYS) {
    pthread_t thread = started(wait_vector, NULL);
    all_wait(1);
    wake_all_of(&third, 1);
    joined(thread);
  }
  return passed();
}
