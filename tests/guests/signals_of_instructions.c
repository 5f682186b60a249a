// build: -O0 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
#include "guest.h"

// Instructions that fault, each with its signal, code and address: int3, int1, ud2, hlt, in, out,
// cli, div, idiv overflow, into a bad address, non-canonical, int n, wrmsr, mov cr.
static volatile int number_seen, code_seen;
static volatile uintptr_t address_seen, pc_seen;
static sigjmp_buf back;
static void on_fault(int number, siginfo_t* info, void* context) {
  number_seen = number, code_seen = info->si_code, address_seen = (uintptr_t)info->si_addr;
  pc_seen = (uintptr_t)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
  siglongjmp(back, 1);
}

#define TRY(number, code, text)                                                            \
  do {                                                                                     \
    number_seen = 0;                                                                       \
    if (sigsetjmp(back, 1) == 0) __asm__ volatile(text ::: "rax", "rcx", "rdx", "memory"); \
    if (number_seen != (number) || code_seen != (code)) {                                  \
      printf("%s: signal %d code %d\n", text, number_seen, code_seen);                     \
      exit(1);                                                                             \
    }                                                                                      \
    printf("%s %d %d %d\n", text, number_seen, code_seen, address_seen == pc_seen);        \
  } while (0)
int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  int numbers[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS};
  for (int i = 0; i < 5; i++) CHECK(sigaction(numbers[i], &action, NULL) == 0);
  TRY(SIGTRAP, SI_KERNEL, "int3");
  TRY(SIGTRAP, SI_KERNEL, "int $3");
  TRY(SIGILL, ILL_ILLOPN, "ud2");
  TRY(SIGILL, ILL_ILLOPN, ".byte 0x0f, 0xb9, 0xc0");
  TRY(SIGILL, ILL_ILLOPN, ".byte 0x06");
  TRY(SIGSEGV, SI_KERNEL, "hlt");
  TRY(SIGSEGV, SI_KERNEL, "cli");
  TRY(SIGSEGV, SI_KERNEL, "sti");
  TRY(SIGSEGV, SI_KERNEL, "in $0x80, %%al");
  TRY(SIGSEGV, SI_KERNEL, "out %%al, $0x80");
  TRY(SIGSEGV, SI_KERNEL, "xor %%ecx, %%ecx\n rdmsr");
  TRY(SIGSEGV, SI_KERNEL, "mov %%cr0, %%rax");
  TRY(SIGSEGV, SI_KERNEL, "int $0x42");
  TRY(SIGSEGV, SI_KERNEL, "int $0x0d");
  TRY(SIGFPE, FPE_INTDIV, "xor %%edx, %%edx\n xor %%ecx, %%ecx\n mov $1, %%eax\n div %%ecx");
  TRY(SIGFPE, FPE_INTDIV, "mov $5, %%edx\n mov $1, %%ecx\n mov $1, %%eax\n div %%ecx");
  TRY(SIGSEGV, SEGV_MAPERR, "mov 0x10, %%rax");
  TRY(SIGSEGV, SI_KERNEL, "mov $0x8000000000000000, %%rax\n mov (%%rax), %%rax");
  TRY(SIGSEGV, SEGV_MAPERR, "mov $0x4242, %%rax\n jmp *%%rax");
  TRY(SIGSEGV, SI_KERNEL, "invd");
  TRY(SIGSEGV, SI_KERNEL, "movaps 1(%%rsp), %%xmm0");
  TRY(SIGSEGV, SI_KERNEL, "mov $8, %%eax\n ltr %%ax");
  TRY(SIGSEGV, SI_KERNEL, "mov $0x43, %%eax\n mov %%eax, %%ss");
  return passed();
}
