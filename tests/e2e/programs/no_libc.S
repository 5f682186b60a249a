// build: -nostdlib -static
  .globl _start
  .text
_start:
  mov $5, %ecx
  xor %eax, %eax
loop:
  add %rcx, %rax
  dec %ecx
  jnz loop
done:
  mov %rax, result(%rip)
  mov $60, %eax
  xor %edi, %edi
  syscall
  .bss
  .globl result
  .comm result, 8
