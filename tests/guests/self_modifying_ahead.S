// build: -nostdlib -static -Wl,-N
// status: 5
// The instruction right behind the store is what the store changes: the processor must not, and
// a translator must not, run the old one.
  .globl _start
  .text
_start:
  mov $20, %ebx
1:
  lea patched+1(%rip), %rax
  movb $5, (%rax)
patched:
  mov $1, %edi
  lea patched+1(%rip), %rax
  movb $1, (%rax)
  cmp $5, %edi
  jne 2f
  dec %ebx
  jnz 1b
  push %rdi
  mov $1, %eax
  mov $1, %edi
  lea word(%rip), %rsi
  mov $7, %edx
  syscall
  pop %rdi
2:
  mov $231, %eax
  syscall
word:
  .ascii "passed\n"
