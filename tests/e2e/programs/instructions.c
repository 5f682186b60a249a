// build: -O0 -no-pie
// Instructions that a replay does not execute as they are: system calls, cpuid, rdtsc, rep.
#include <string.h>

unsigned char from[300], to[300];
unsigned eax, ebx, ecx, edx, low, high;
long pid;

void special(void);
__asm__(
    ".text\n.globl special\n.type special,@function\n"
    "special:\n"
    "  push %rbx\n"
    ".globl at_syscall\nat_syscall:\n"
    "  mov $39, %eax\n"
    "  syscall\n"
    "  mov %rax, pid(%rip)\n"
    "  xor %eax, %eax\n"
    "  xor %ecx, %ecx\n"
    "  cpuid\n"
    "  mov %ebx, ebx(%rip)\n"
    "  rdtsc\n"
    "  mov %eax, low(%rip)\n"
    "  lea from(%rip), %rsi\n"
    "  lea to(%rip), %rdi\n"
    "  mov $300, %ecx\n"
    "  rep movsb\n"
    "  lea to(%rip), %rdi\n"
    "  mov $10, %ecx\n"
    "  mov $7, %al\n"
    "  rep stosb\n"
    "  pushfq\n"
    "  pop %rax\n"
    "  pop %rbx\n"
    ".globl at_return\nat_return:\n"
    "  ret\n"
    ".size special,.-special\n"
    // Constants with the bytes of what rchk puts in the place of rdtsc, cpuid and rdtscp.
    ".globl lookalikes\n.type lookalikes,@function\n"
    "lookalikes:\n"
    "  mov $0x11080f22, %eax\n"
    "  mov $0x11090f22, %eax\n"
    "  mov $0xf8010f22, %eax\n"
    "  ret\n"
    ".size lookalikes,.-lookalikes\n");

int main(void) {
  memset(from, 3, sizeof from);
  special();               // mark: special
  return to[299] + to[0];  // mark: return
}
