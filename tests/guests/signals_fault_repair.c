// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// A write barrier, as garbage collectors have it: the handler notes the page and opens it.
enum { kPages = 64 };

static unsigned char* memory;
static volatile int faults, dirty[kPages];

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  unsigned char* at = info->si_addr;
  CHECK(number == SIGSEGV && info->si_code == SEGV_ACCERR);
  CHECK(at >= memory && at < memory + kPages * 4096);
  long page = (at - memory) / 4096;
  faults++;
  dirty[page]++;
  CHECK(mprotect(memory + page * 4096, 4096, PROT_READ | PROT_WRITE) == 0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  memory = mmap(NULL, kPages * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED && sigaction(SIGSEGV, &action, NULL) == 0);
  for (int round = 1; round <= 5; round++) {
    for (int i = 0; i < 2000; i++) memory[i * 7919 % (kPages * 4096)] += (unsigned char)round;
    for (int page = 0; page < kPages; page++) CHECK(dirty[page] == round);
    CHECK(mprotect(memory, kPages * 4096, PROT_READ) == 0);
  }
  CHECK(faults == 5 * kPages);
  return passed();
}
