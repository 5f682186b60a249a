// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// A buffer that grows by the faults at its end, and memory that the handler maps.
static char *memory, *end;
static volatile int grown;

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  char* at = info->si_addr;
  CHECK(number == SIGSEGV && at >= end && at < end + 4096 && info->si_code == SEGV_MAPERR);
  int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  CHECK(mmap(end, 4096, PROT_READ | PROT_WRITE, fixed, -1, 0) == end);
  end += 4096;
  grown++;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  memory = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED && munmap(memory, 64 * 4096) == 0);
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  end = memory;
  for (int i = 0; i < 64 * 4096; i += 13) memory[i] = (char)i;
  for (int i = 0; i < 64 * 4096; i += 13) CHECK(memory[i] == (char)i);
  CHECK(grown == 64);
  return passed();
}
