// build: -O1 -D_GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "guest.h"

// Code that the program has written a moment ago, with no call since, faults without an address:
// branches to addresses that are not canonical, and others.
static sigjmp_buf back;
static uint8_t* code;
static volatile uint64_t cells[8] __attribute__((aligned(16)));
static volatile uintptr_t faulted, stack, under;

static void on_fault(int number, siginfo_t* info, void* context) {
  const greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  CHECK(number == SIGSEGV && info->si_code == SI_KERNEL && info->si_addr == NULL);
  faulted = (uintptr_t)registers[REG_RIP];
  stack = (uintptr_t)registers[REG_RSP];
  under = ((uintptr_t*)stack)[-1];  // what a call would have stored to
  siglongjmp(back, 1);
}

// Jumps there with a stack of its own.
static void run(const void* bytes, size_t count) {
  static uint64_t own[64] __attribute__((aligned(16)));
  memset(own, 0x41, sizeof own);
  if (sigsetjmp(back, 1) == 0) {
    memset(code, 0x90, 32);
    memcpy(code + 8, bytes, count);
    __asm__ volatile(
        "mov %0, %%rsp\n"
        "mov $1, %%ecx\n"
        "add $0x7fffffff, %%ecx\n"
        "jmp *%1" ::"r"(own + 32),
        "r"(code), "a"(0x4141414141414141), "D"(cells), "S"(0x4141414141414141)
        : "rcx", "memory");
  }
  CHECK(faulted == (uintptr_t)code + 8 && stack == (uintptr_t)(own + 32));
  CHECK(under == 0x4141414141414141);
}

#define RUN(...) run((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

int main(void) {
  static char alternate[1 << 16];
  const stack_t other = {.ss_sp = alternate, .ss_size = sizeof alternate};
  CHECK(sigaltstack(&other, NULL) == 0);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(code != MAP_FAILED);
  cells[1] = 0x8000000000000000;
  for (int i = 0; i < 3; i++) {
    RUN(0xff, 0xe0);              // jmp *%rax
    RUN(0xf4);                    // hlt
    RUN(0xff, 0xd0);              // call *%rax
    RUN(0x48, 0x8b, 0x00);        // mov (%rax),%rax
    RUN(0xc3);                    // ret
    RUN(0x0f, 0x29, 0x47, 0x08);  // movaps %xmm0,8(%rdi)
    RUN(0xff, 0x57, 0x08);        // call *8(%rdi)
    RUN(0xff, 0x10);              // call *(%rax)
    RUN(0xff, 0x67, 0x08);        // jmp *8(%rdi)
    RUN(0xff, 0x20);              // jmp *(%rax)
    RUN(0xf3, 0xa4);              // rep movsb
  }
  return passed();
}
