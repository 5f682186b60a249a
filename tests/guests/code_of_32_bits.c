// build: -O1 -D_GNU_SOURCE -no-pie -fno-pie
// stops: 32-bit code
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "guest.h"

// Runs 32-bit code for a while, by a far call, as Wine does. No instruction of it makes a stop: a
// signal does, one of many, for it may come just between two such calls.
static volatile sig_atomic_t ticks;

static void on_tick(int signal) {
  (void)signal;
  ++ticks;
}

int main(void) {
  // dec %ecx; jnz back; mov $42, %eax; retf
  static const uint8_t code[] = {0x49, 0x75, 0xfd, 0xb8, 42, 0, 0, 0, 0xcb};
  uint8_t* page = mmap(NULL, 16384, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(page != MAP_FAILED);
  memcpy(page, code, sizeof code);
  struct {
    uint32_t offset;
    uint16_t segment;
  } __attribute__((packed)) target = {(uint32_t)(uintptr_t)page, 0x23};
  const struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const struct itimerval soon = {{0, 1000}, {0, 1000}};
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  CHECK(signal(SIGSEGV, skip_on_fault) != SIG_ERR);
  for (int i = 0; i < 1000000 && ticks < 20; ++i) {
    uint64_t result, count = 100000;
    __asm__ volatile("mov %%rsp, %%rbx\n mov %3, %%rsp\n lcall *(%2)\n mov %%rbx, %%rsp"
                     : "=a"(result), "+c"(count)
                     : "r"(&target), "r"(page + 16384 - 64)
                     : "rbx", "memory", "cc");
    CHECK(result == 42 && count == 0);
  }
  CHECK(ticks >= 20);
  return passed();
}
