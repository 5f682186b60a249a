// build: -nostdlib -static
// Calls that never return, returns that were never called, and return addresses changed on the
// way: what real code does with the stack, and what breaks a shadow of it.
  .globl _start
  .text
_start:
  mov $10000, %ebx
again:
  call 1f               # position-independent code reads its own address so
1:
  pop %rax
  lea 1b(%rip), %rdx
  cmp %rax, %rdx
  jne bad
  lea 2f(%rip), %rax    # a return to where nobody called from
  push %rax
  ret
2:
  call skips            # the callee returns behind an instruction
  jmp bad
  call deep
  push $7
  lea 3f(%rip), %rax
  push %rax
  ret $8                # takes an argument off the stack, too
bad:
  mov $1, %edi
  mov $231, %eax
  syscall
skips:
  addq $2, (%rsp)       # over the two-byte jump
  ret
deep:
  call 4f
  jmp bad
4:
  add $8, %rsp          # drops a frame, as longjmp does
  ret
3:
done:
  dec %ebx
  jnz again
  mov $1, %eax
  mov $1, %edi
  lea word(%rip), %rsi
  mov $7, %edx
  syscall
  xor %edi, %edi
  mov $231, %eax
  syscall
word:
  .ascii "passed\n"
