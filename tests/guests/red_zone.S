// build: -nostdlib -static
// What lies below the stack pointer is the guest's: nothing may write there.
  .globl _start
  .text
_start:
  mov $1000, %ecx
1:
  movq $0x1234, -8(%rsp)
  movq $0x5678, -128(%rsp)
  movq $0x9abc, -4000(%rsp)
  test $1, %cl
  jz 2f
  lea 3f(%rip), %rax
  jmp *%rax
2:
  nop
3:
  cmpq $0x1234, -8(%rsp)
  jne bad
  cmpq $0x5678, -128(%rsp)
  jne bad
  cmpq $0x9abc, -4000(%rsp)
  jne bad
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
word:
  .ascii "passed\n"
