// build: -O1 -pthread -D_GNU_SOURCE
#include <cpuid.h>
#include <sched.h>

#include "tasks.h"

// A program that binds itself to one core after the other runs there, by all that it can ask.
static int has_rdtscp(void) {
  unsigned a, b, c, d = 0;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) && (d >> 27 & 1) != 0;
}

static unsigned by_rdtscp(void) {
  unsigned low, high, core;
  __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(core));
  return core;
}

static void bound_to(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  for (int i = 0; i < 3; i++) {
    unsigned by_call = ~0u, node = ~0u;
    CHECK(syscall(SYS_getcpu, &by_call, &node, NULL) == 0 && by_call == (unsigned)cpu);
    CHECK(sched_getcpu() == cpu);
    if (!has_rdtscp()) continue;
    const unsigned core = by_rdtscp();
    CHECK((core & 0xfff) == (unsigned)cpu && core >> 12 == node);
  }
}

static void* binds(void* cpu) {
  bound_to((int)(intptr_t)cpu);
  return NULL;
}

int main(void) {
  cpu_set_t all;
  CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
  int last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &all)) continue;
    bound_to(cpu);
    if (last >= 0) joined(started(binds, (void*)(intptr_t)last));
    last = cpu;
  }
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(cpu, &all)) bound_to(cpu);
  }
  return passed();
}
