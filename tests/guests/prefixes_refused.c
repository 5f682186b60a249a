// build: -O1 -D_GNU_SOURCE
#include <signal.h>
#include <ucontext.h>

#include "guest.h"

// Instructions that the processor refuses for a prefix or an opcode of theirs, and would execute
// without: each raises SIGILL, with the flags as they were.
static volatile int refused;
static volatile long flags;

// Behind each lies a place to go on at, so far away.
enum { kLength = 16 };

static void on_refused(int number, siginfo_t* info, void* context) {
  (void)number, (void)info;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  refused++;
  flags = registers[REG_EFL] & 1;
  registers[REG_RIP] += kLength;
}

#define REFUSED(...)                                                                          \
  do {                                                                                        \
    const int before = refused;                                                               \
    __asm__ volatile("stc; 1: .byte " #__VA_ARGS__ "; .fill 16 - (. - 1b), 1, 0x90" ::"a"(0), \
                     "c"(0)                                                                   \
                     : "rdx", "rbx", "rsi", "rdi", "r11", "memory", "cc");                    \
    CHECK(refused == before + 1 && flags == 1);                                               \
  } while (0)

int main(void) {
  struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGILL, &action, NULL) == 0);
  REFUSED(0xf0, 0xc3);                    // lock ret
  REFUSED(0xf0, 0xe8, 0, 0, 0, 0);        // lock call
  REFUSED(0xf0, 0xeb, 0);                 // lock jmp
  REFUSED(0xf0, 0x75, 0);                 // lock jne
  REFUSED(0xf0, 0x0f, 0x84, 0, 0, 0, 0);  // lock je
  REFUSED(0xf0, 0xe2, 0);                 // lock loop
  REFUSED(0xf0, 0xff, 0xd0);              // lock call *rax
  REFUSED(0xf0, 0xff, 0xe0);              // lock jmp *rax
  REFUSED(0xf0, 0xcc);                    // lock int3
  REFUSED(0xf0, 0x0f, 0x31);              // lock rdtsc
  REFUSED(0xf0, 0x0f, 0xa2);              // lock cpuid
  REFUSED(0xf0, 0x0f, 0x05);              // lock syscall
  REFUSED(0xfe, 0xe5);                    // no such operation
  return passed();
}
