// build: -nostdlib -static
// status: 0
// r11 as a guest's own register in every role, in loops: a translator that borrows it must not
// show.
  .globl _start
  .text
_start:
  mov $100000, %ecx
  xor %r11d, %r11d
  xor %eax, %eax
1:
  lea 3(%r11,%rcx), %r11
  add %r11, %rax
  push %r11
  pop %r10
  cmp %r10, %r11
  jne bad
  xchg %r11, %rax
  mov %r11b, -200(%rsp)
  movzbl -200(%rsp), %edx
  cmp %dl, %r11b
  jne bad
  lea table(%rip), %r11
  movslq (%r11), %r10
  add %r11, %r10
  mov %r10, %r11
  jmp *%r11
2:
  mov %rax, %r11
  dec %ecx
  jnz 1b
  mov $1, %eax
  mov $1, %edi
  lea word(%rip), %rsi
  mov $7, %edx
  syscall
  xor %edi, %edi
  mov $231, %eax
  syscall
bad:
  mov $1, %edi
  mov $231, %eax
  syscall
  .section .rodata
table:
  .long 2b - table
word:
  .ascii "passed\n"
