// build: -O1 -D_GNU_SOURCE
#include "guest.h"

// xlat, cmpxchg16b, loop, jrcxz, segment prefixes, lahf, bswap,
// sgdt-class reads, xgetbv, rdfsbase, pushes of segments, nops with odd prefixes.
static void deep(uint64_t* out) {
  uint64_t a, b, c;
  unsigned short segment;
  __asm__ volatile("mov %%cs, %0" : "=r"(segment));
  out[0] = segment;
  __asm__ volatile("mov %%ss, %0" : "=r"(segment));
  out[1] = segment;
  static unsigned char table[256];
  for (int i = 0; i < 256; i++) table[i] = (unsigned char)(255 - i);
  __asm__ volatile("xlatb" : "=a"(a) : "a"(7), "b"(table));
  out[4] = a & 0xff;
  uint64_t pair[2] __attribute__((aligned(16))) = {3, 4};
  unsigned char equal;
  __asm__ volatile("lock cmpxchg16b %1\n sete %0"
                   : "=q"(equal), "+m"(*(__int128*)pair)
                   : "a"(3ul), "d"(4ul), "b"(30ul), "c"(40ul)
                   : "cc");
  out[5] = pair[0] + pair[1] + equal;
  __asm__ volatile(
      "xor %%eax, %%eax\n mov $9, %%ecx\n 1: add %%ecx, %%eax\n loop 1b\n jrcxz 2f\n inc %%eax\n 2:"
      : "=a"(a)::"rcx", "cc");
  out[6] = a;
  __asm__ volatile("mov $5, %%ecx\n xor %%eax, %%eax\n 1: inc %%eax\n test %%ecx, %%ecx\n loopne 1b"
                   : "=a"(a)::"rcx", "cc");
  out[7] = a;
  __asm__ volatile("xor %%eax, %%eax\n cmp $1, %%eax\n lahf" : "=a"(a)::"cc");
  out[8] = a >> 8 & 0xff;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  out[9] = low & 7;
  (void)high;
  __asm__ volatile(
      ".byte 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n .byte 0xf3, 0x90\n endbr64");
  __asm__ volatile("mov %%fs:0, %0" : "=r"(b));
  __asm__ volatile("mov %%fs:(%1), %0" : "=r"(c) : "r"(0ul));
  out[10] = b == c && b != 0;
  // A 32-bit address size.
  __asm__ volatile("mov $0x123456789, %%rax\n lea 5(%%eax), %0" : "=r"(a)::"rax");
  out[11] = a;
  // Push and pop of memory with rsp as base.
  __asm__ volatile(
      "sub $128, %%rsp\n push $77\n push (%%rsp)\n pop 8(%%rsp)\n pop %0\n add $128, %%rsp"
      : "=r"(a)::"memory");
  out[12] = a;
  __asm__ volatile("sub $128, %%rsp\n push %%rsp\n pop %0\n add $128, %%rsp" : "=r"(a)::"memory");
  out[13] = a & 7;
  __asm__ volatile(
      "sub $128, %%rsp\n pushw $0x1234\n popw %w0\n push %%fs\n pop %1\n add $128, %%rsp"
      : "=r"(a), "=r"(b)::"memory");
  out[14] = (a & 0xffff) + b;
  // A call of the next instruction, and a return with an argument count.
  __asm__ volatile(
      "sub $128, %%rsp\n call 1f\n 1: pop %0\n lea 1b(%%rip), %1\n sub %1, %0\n add $128, %%rsp"
      : "=&r"(a), "=&r"(b)::"memory");
  out[15] = a;
  __asm__ volatile(
      "sub $128, %%rsp\n push $1\n push $2\n call 1f\n jmp 2f\n 1: ret $16\n 2: add $128, %%rsp" ::
          : "memory");
  // Self-relative code through a jump in memory with an index.
  static void* labels[3];
  __asm__ volatile(
      "lea 1f(%%rip), %%rax\n mov %%rax, 16(%1)\n mov $2, %%ecx\n jmp *(%1,%%rcx,8)\n ud2\n 1: mov "
      "$99, %0"
      : "=r"(a)
      : "r"(labels)
      : "rax", "rcx", "memory");
  out[16] = a;
  __asm__ volatile("bsf %1, %0" : "=r"(a) : "r"(0x100ul));
  out[17] = a;
  __asm__ volatile("rcl $3, %0" : "=r"(a) : "0"(0x8000000000000001ul) : "cc");
  out[18] = a & ~7ul;
  __asm__ volatile("std\n lodsb\n cld" : "=a"(a), "=S"(b) : "1"(table + 10), "0"(0) : "memory");
  out[19] = a;
}

int main(void) {
  uint64_t out[20] = {0};
  for (int i = 0; i < 3; i++) deep(out);
  for (int i = 0; i < 20; i++) printf("%d %llx\n", i, (unsigned long long)out[i]);
  return passed();
}
