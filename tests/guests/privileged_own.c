// build: -O1 -D_GNU_SOURCE
// varies: the time
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <x86intrin.h>

#include "guest.h"

// Privileged instructions of the program's own raise SIGSEGV, also those that a recorder may put in
// the place of RDTSC and RDTSCP; a copy of code that reads the counter does not.
static volatile int faults;
static volatile uint64_t at;

static void on_fault(int number, siginfo_t* info, void* context) {
  ucontext_t* interrupted = context;
  CHECK(number == SIGSEGV && info->si_code == SI_KERNEL);
  at = (uint64_t)interrupted->uc_mcontext.gregs[REG_RIP];
  interrupted->uc_mcontext.gregs[REG_RIP] += 4;
  faults++;
}

// In four bytes each, which the handler skips.
#define FAULTS(name, bytes)                                                     \
  do {                                                                          \
    extern char name[];                                                         \
    int before = faults;                                                        \
    __asm__ volatile(".globl " #name "\n" #name ": .byte " bytes ::: "memory"); \
    CHECK(faults == before + 1 && at == (uint64_t)name);                        \
  } while (0)

// rdtsc; shl rdx, 32; or rax, rdx; ret
extern char code_to_copy[], code_to_copy_end[];
__asm__(
    ".text\n"
    ".type code_to_copy, @function\n"
    "code_to_copy:\n"
    "  .cfi_startproc\n"
    "  rdtsc\n  shl $32, %rdx\n  or %rdx, %rax\n  ret\n"
    "  .cfi_endproc\n"
    "code_to_copy_end:\n"
    ".size code_to_copy, . - code_to_copy\n");

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  uint64_t mixed = 0, last = 0;
  unsigned core;
  uint64_t (*copied)(void) =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(copied != MAP_FAILED);
  memcpy((void*)copied, code_to_copy, (size_t)(code_to_copy_end - code_to_copy));
  CHECK(mprotect((void*)copied, 4096, PROT_READ | PROT_EXEC) == 0);
  for (int i = 0; i < 20; ++i) {
    uint64_t first = __rdtsc(), second = __rdtscp(&core);
    CHECK(first > last && second >= first);
    last = second;
    mixed = mixed * 31 + first;
    FAULTS(invd, "0x0f, 0x08, 0x90, 0x90");
    FAULTS(wbinvd, "0x0f, 0x09, 0x90, 0x90");
    FAULTS(swapgs, "0x0f, 0x01, 0xf8, 0x90");
    FAULTS(hlt, "0xf4, 0x31, 0xc0, 0x90");
    last = copied();
    CHECK(last >= second);
    mixed = mixed * 31 + last;
  }
  CHECK(faults == 80);
  printf("%016lx ", mixed);
  return passed();
}
