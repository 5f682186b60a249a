// build: -O1 -D_GNU_SOURCE -mfsgsbase
#include <asm/prctl.h>
#include <immintrin.h>
#include <sys/auxv.h>
#include "tasks.h"

// Segment bases by instruction and by call, in threads and children, kept over calls.
static __thread int local;
static void* thread(void* argument) {
  unsigned long base = (unsigned long)argument, seen = 0;
  _writegsbase_u64(base);
  for (int i = 0; i < 20; i++) {
    sched_yield();
    CHECK(_readgsbase_u64() == base);
    CHECK(syscall(SYS_arch_prctl, ARCH_GET_GS, &seen) == 0 && seen == base);
    local += i;
  }
  uint64_t value;
  __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
  return (void*)(value + (uint64_t)local);
}

int main(void) {
  if (!(getauxval(AT_HWCAP2) & 2)) return skipped();
  static uint64_t areas[4][4] = {{0, 100}, {0, 200}, {0, 300}, {0, 400}};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = started(thread, areas[i]);
  for (int i = 0; i < 3; i++) CHECK(joined(threads[i]) == (i + 1) * 100 + 190);
  _writegsbase_u64((unsigned long)areas[3]);
  unsigned long fs = _readfsbase_u64();
  pid_t child = forked();
  if (child == 0)
    _exit(_readgsbase_u64() == (unsigned long)areas[3] && _readfsbase_u64() == fs ? 3 : 4);
  CHECK(status_of(child) == 3);
  uint64_t value;
  __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
  CHECK(value == 400);
  _writefsbase_u64((unsigned long)areas[1]);
  __asm__ volatile("mov %%fs:8, %0" : "=r"(value));
  _writefsbase_u64(fs);
  CHECK(value == 200);
  return passed();
}
