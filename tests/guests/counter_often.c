// build: -O1 -D_GNU_SOURCE -pthread
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include "tasks.h"

// Reads the time stamp counter so often, at each of many places, that the recorder has it read
// without stops: nothing but the results may be changed by that, wherever it is done.
enum { kRounds = 1000 };

uint64_t probe_low, probe_high, probe_flags, probe_registers[15];

// All registers and flags as `values` says, RDTSC, and then as they are: behind it comes what has
// to be changed when it moves.
__asm__(
    ".text\n"
    ".globl probe\n"
    ".type probe, @function\n"
    "probe:\n"  // (values, flags)
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  push %rsi\n"
    "  mov 0(%rdi), %rbx; mov 8(%rdi), %rcx; mov 16(%rdi), %rbp\n"
    "  mov 24(%rdi), %rsi; mov 32(%rdi), %r8; mov 40(%rdi), %r9\n"
    "  mov 48(%rdi), %r10; mov 56(%rdi), %r11; mov 64(%rdi), %r12\n"
    "  mov 72(%rdi), %r13; mov 80(%rdi), %r14; mov 88(%rdi), %r15\n"
    "  popfq\n"
    "  movq $0x11223344, -8(%rsp); movq $0x55667788, -64(%rsp); movq $0x99, -128(%rsp)\n"
    "  mov $-1, %rax; mov $-2, %rdx\n"
    "  rdtsc\n"
    "  mov %rdx, probe_high(%rip)\n"
    "  mov %rax, probe_low(%rip)\n"
    "  mov %rbx, probe_registers(%rip); mov %rcx, probe_registers+8(%rip)\n"
    "  mov %rbp, probe_registers+16(%rip); mov %rsi, probe_registers+24(%rip)\n"
    "  mov %r8, probe_registers+32(%rip); mov %r9, probe_registers+40(%rip)\n"
    "  mov %r10, probe_registers+48(%rip); mov %r11, probe_registers+56(%rip)\n"
    "  mov %r12, probe_registers+64(%rip); mov %r13, probe_registers+72(%rip)\n"
    "  mov %r14, probe_registers+80(%rip); mov %r15, probe_registers+88(%rip)\n"
    "  mov %rdi, probe_registers+96(%rip)\n"
    "  mov -8(%rsp), %rax; mov %rax, probe_registers+104(%rip)\n"
    "  mov -128(%rsp), %rax; mov %rax, probe_registers+112(%rip)\n"
    "  pushfq; popq probe_flags(%rip); pushq $0x202; popfq\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n"
    ".size probe, . - probe\n"
    // Where code leads to right behind the instruction.
    ".globl led_to\n"
    ".type led_to, @function\n"
    "led_to:\n"
    "  mov $7, %eax\n"
    "  test %edi, %edi\n"
    "  jnz 1f\n"
    "  rdtsc\n"
    "1: shl $1, %rax\n"
    "  or $1, %rax\n"
    "  ret\n"
    ".size led_to, . - led_to\n"
    // What follows may fault, and says where.
    ".globl faults_behind, fault_place, fault_end\n"
    ".type faults_behind, @function\n"
    "faults_behind:\n"
    "  rdtsc\n"
    "fault_place:\n"
    "  mov 0x1000(%rdi), %rcx\n"
    "fault_end:\n"
    "  ret\n"
    ".size faults_behind, . - faults_behind\n"
    // Without a stack.
    ".globl without_stack\n"
    ".type without_stack, @function\n"
    "without_stack:\n"
    "  mov %rsp, %r8\n"
    "  xor %esp, %esp\n"
    "  rdtsc\n"
    "  shl $32, %rdx\n"
    "  or %rdx, %rax\n"
    "  mov %r8, %rsp\n"
    "  ret\n"
    ".size without_stack, . - without_stack\n"
    ".globl with_core\n"
    ".type with_core, @function\n"
    "with_core:\n"  // (uint32_t *core)
    "  rdtscp\n"
    "  shl $32, %rdx\n"
    "  or %rdx, %rax\n"
    "  mov %rcx, (%rdi)\n"
    "  ret\n"
    ".size with_core, . - with_core\n"
    ".globl fenced\n"
    ".type fenced, @function\n"
    "fenced:\n"
    "  lfence\n"
    "  rdtsc\n"
    "  lfence\n"
    "  shl $32, %rdx\n"
    "  or %rdx, %rax\n"
    "  ret\n"
    ".size fenced, . - fenced\n");

void probe(const uint64_t* values, uint64_t flags);
uint64_t led_to(int middle), faults_behind(void*bad), without_stack(void);
uint64_t with_core(uint64_t*core), fenced(void);
extern char fault_place[], fault_end[];

static volatile int faults;
static volatile sig_atomic_t ticks;

static void on_fault(int number, siginfo_t* info, void* context) {
  (void)number;
  (void)info;
  ucontext_t* state = context;
  CHECK(state->uc_mcontext.gregs[REG_RIP] == (greg_t)fault_place);
  state->uc_mcontext.gregs[REG_RIP] = (greg_t)fault_end;
  faults++;
}

static void on_tick(int number) {
  (void)number;
  ticks++;
  const uint64_t first = fenced(), second = fenced();
  CHECK(first < second);
}

static void registers_are_kept(void) {
  uint64_t values[12];
  for (int round = 0; round < kRounds; round++) {
    for (int i = 0; i < 12; i++)
      values[i] = (uint64_t)(round + 1) * 0x9e3779b97f4a7c15ull * (i + 1);
    const uint64_t kinds[] = {0x202, 0x8d7, 0x602, 0x246, 0xed7 & ~0x100ull, 0x40202};
    const uint64_t flags = kinds[round % 6];  // arithmetic, direction and alignment
    probe(values, flags);
    for (int i = 0; i < 12; i++) CHECK(probe_registers[i] == values[i]);
    CHECK(probe_registers[12] == (uint64_t)values);
    CHECK(probe_registers[13] == 0x11223344 && probe_registers[14] == 0x99);
    CHECK((probe_flags & 0x40cd5) == (flags & 0x40cd5));
    CHECK(probe_low >> 32 == 0 && probe_high >> 32 == 0);
  }
}

// RDTSCP names the core as well.
static void stay_here(void) {
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(sched_getcpu(), &here);
  CHECK(sched_setaffinity(0, sizeof here, &here) == 0);
}

static void places_agree(void) {
  uint64_t last = 0, core = 0, first_core = 0;
  stay_here();
  with_core(&first_core);
  for (int round = 0; round < kRounds; round++) {
    const uint64_t now = fenced();
    CHECK(now > last);
    last = with_core(&core);
    CHECK(last > now && core == first_core);
    const uint64_t bare = without_stack();
    CHECK(bare > last);
    last = bare;
    // One that is never read often.
    if (round % 100 == 0) {
      const uint64_t rare = __builtin_ia32_rdtsc();
      CHECK(rare > last);
      last = rare;
    }
    CHECK((led_to(round % 3) & 1) == 1);
    if (round % 3 != 0) CHECK(led_to(1) == 15);
    faults_behind(NULL);
  }
  CHECK(faults == kRounds);
}

static void* reading(void* argument) {
  uint64_t last = 0;
  for (int i = 0; i < kRounds; i++) {
    const uint64_t now = fenced();
    CHECK(now > last);
    last = now;
  }
  return argument;
}

int main(void) {
  unsigned char own[8];  // its code, as it is in the beginning
  memcpy(own, (char*)fenced, sizeof own);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  registers_are_kept();
  places_agree();
  CHECK(signal(SIGALRM, on_tick) != SIG_ERR);
  const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  uint64_t last = 0;
  for (int i = 0; i < 20 * kRounds || ticks < 5; i++) {
    const uint64_t now = fenced();
    CHECK(now > last);
    last = now;
  }
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = started(reading, NULL);
  reading(NULL);
  for (int i = 0; i < 3; i++) joined(threads[i]);
  const pid_t child = forked();
  if (child == 0) {
    const uint64_t before = fenced();
    reading(NULL);
    faults = 0;
    places_agree();
    _exit(fenced() > before ? 3 : 4);
  }
  reading(NULL);
  CHECK(status_of(child) == 3);
  // The code is changed, and is what it was to its program.
  char* page = (char*)((uintptr_t)fenced & ~4095ul);
  CHECK(mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
  CHECK(memcmp((char*)fenced, own, sizeof own) == 0);
  CHECK(mprotect(page, 8192, PROT_READ | PROT_EXEC) == 0);
  reading(NULL);
  return passed();
}
