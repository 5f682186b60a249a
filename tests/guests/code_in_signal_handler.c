// build: -O1 -D_GNU_SOURCE
#include <signal.h>

#include "tasks.h"

#include "code.h"

// A handler repairs the code at which its fault happened: lazy compilation by SIGSEGV and by
// SIGILL.
static unsigned char* code;
static volatile int made;

static void handler(int number, siginfo_t* info, void* context) {
  (void)context;
  unsigned char* at = info->si_addr;
  CHECK(at >= code && at < code + 4 * 4096);
  unsigned char* page = code + (at - code) / 4096 * 4096;
  CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
  if (number == SIGSEGV) {
    page[0] = 0x0f;  // ud2: faults again, as SIGILL
    page[1] = 0x0b;
  } else {
    put_return(page, (int)(page - code) / 4096 + 100);
  }
  made++;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGILL, &action, NULL) == 0);
  code = code_pages(4, PROT_NONE);
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 4; i++) CHECK(((Function)(code + i * 4096))() == 100 + i);
  CHECK(made == 8);
  return passed();
}
