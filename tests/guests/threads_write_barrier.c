// build: -O1 -pthread -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// The write barrier of a collector with several threads: each may fault, also on one page at once.
enum { kPages = 32 };

static unsigned char* memory;
static atomic_int faults;
static pthread_barrier_t barrier;

static void handler(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  unsigned char* page = (unsigned char*)((uintptr_t)info->si_addr & ~4095ul);
  CHECK(page >= memory && page < memory + kPages * 4096);
  faults++;
  CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
}

static void* write_all(void* argument) {
  intptr_t self = (intptr_t)argument;
  for (int round = 0; round < 10; round++) {
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
      CHECK(mprotect(memory, kPages * 4096, PROT_READ) == 0);
    pthread_barrier_wait(&barrier);
    for (int page = 0; page < kPages; page++) memory[page * 4096 + self]++;
  }
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  pthread_t threads[3];
  memory = mmap(NULL, kPages * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED && sigaction(SIGSEGV, &action, NULL) == 0);
  CHECK(pthread_barrier_init(&barrier, NULL, 3) == 0);
  for (intptr_t i = 0; i < 3; i++) threads[i] = started(write_all, (void*)i);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  for (int i = 0; i < kPages * 4096; i++) CHECK(memory[i] == (i % 4096 < 3 ? 10 : 0));
  CHECK(faults >= 10 * kPages && faults <= 30 * kPages);
  return passed();
}
