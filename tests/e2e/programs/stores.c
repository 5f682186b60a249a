// build: -O1 -mno-red-zone
// Instructions that store in every way there is.
char area[512] __attribute__((aligned(64)));
int has_avx, has_avx512;

void scalar(char* to) {
  __asm__ volatile(
      "mov $7, %%eax; mov $1, %%edx; movl $7, (%0); lock cmpxchg %%edx, (%0)\n"
      "mov $9, %%eax; cmpxchg %%edx, (%0); lock xadd %%eax, (%0); xchg %%eax, 8(%0)\n"
      "lock orl $8, (%0); mov $7, %%edx; mov $1, %%ebx; mov $2, %%ecx\n"
      "mov 16(%0), %%eax; mov 20(%0), %%edx; cmpxchg8b 16(%0)\n"
      "mov 32(%0), %%rax; mov 40(%0), %%rdx; lock cmpxchg16b 32(%0)\n"
      "btsl $3, (%0); mov $67, %%ecx; btsl %%ecx, 64(%0); mov $131, %%ecx; bts %%rcx, 64(%0)\n"
      "cmp %%eax, %%eax; sete 2(%0); mov $0x1234567, %%ecx; movnti %%ecx, 24(%0)\n"
      "push 4(%0); pop 96(%0); mov $-1, %%eax; shld $4, %%eax, (%0); shrd $4, %%eax, (%0)\n"
      "roll $3, (%0); rcrw $1, (%0); negl (%0); notq (%0); incw (%0); decb (%0); sarl $2, (%0)\n"
      "addl $5, (%0); adcq $9, 8(%0); subb $1, 3(%0); sbbl %%eax, (%0); xorw $3, 6(%0)\n"
      "movb $1, 5(%0); movw $2, 6(%0); movl $3, 8(%0); movq $4, 16(%0); mov %%ds, 50(%0)\n"
      "mov %0, %%rdi; mov $65, %%al; mov $20, %%ecx; rep stosb; stosl; std; mov $3, %%ecx\n"
      "rep stosw; cld; lea 256(%0), %%rsi; mov $9, %%ecx; rep movsb; movsq; enter $16, $0; leave\n"
      :
      : "r"(to)
      : "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "memory", "cc");
}

void floating(char* to) {
  __asm__ volatile(
      "fldpi; fsts (%0); fstps 4(%0); fldpi; fstl 8(%0); fstpl 16(%0); fldpi; fstpt 32(%0)\n"
      "fld1; fistl 48(%0); fistps 52(%0); fld1; fistpll 56(%0); fld1; fisttpl 64(%0)\n"
      "fld1; fbstp 80(%0); fnstcw 96(%0); fnstsw 98(%0); stmxcsr 104(%0)\n"
      "pcmpeqd %%xmm1, %%xmm1; movups %%xmm1, 1(%0); movss %%xmm1, 20(%0); movsd %%xmm1, 24(%0)\n"
      "pxor %%xmm1, %%xmm1; movd %%xmm1, (%0); movq %%xmm1, 8(%0); movlps %%xmm1, 16(%0)\n"
      "movhps %%xmm1, 24(%0); movdqu %%xmm1, 33(%0); movaps %%xmm1, 48(%0); movntps %%xmm1, (%0)\n"
      "pcmpeqd %%xmm1, %%xmm1; movntdq %%xmm1, 16(%0); mov %0, %%rdi; maskmovdqu %%xmm1, %%xmm1\n"
      :
      : "r"(to)
      : "xmm1", "rdi", "st", "st(1)", "st(2)", "memory");
}

// Processors of AMD lose what these store of the last x87 instruction at each stop.
void environments(char* to) {
  __asm__ volatile("fnstenv 128(%0); fxsave 192(%0)" : : "r"(to) : "memory");
}

void avx(char* to) {
  __asm__ volatile(
      "vpcmpeqd %%ymm3, %%ymm3, %%ymm3; vmovdqu %%ymm3, 1(%0); vmovntdq %%ymm3, 64(%0)\n"
      "vpxor %%xmm1, %%xmm1, %%xmm1; vextractps $0, %%xmm1, 4(%0); vpextrb $0, %%xmm1, 9(%0)\n"
      "vpextrd $1, %%xmm1, 12(%0); vextracti128 $1, %%ymm3, 96(%0); vextractf128 $0, %%ymm1, (%0)\n"
      "vpmaskmovd %%ymm3, %%ymm3, 32(%0); vmaskmovps %%ymm1, %%ymm3, 32(%0)\n"
      "vcvtps2ph $0, %%ymm3, 128(%0); mov $0x1234, %%eax; movbe %%eax, 200(%0)\n"
      "vmovss %%xmm1, 68(%0); vzeroupper\n"
      :
      : "r"(to)
      : "xmm1", "xmm3", "rax", "memory");
}

void avx512(char* to) {
  __asm__ volatile(
      "vpternlogd $255, %%zmm4, %%zmm4, %%zmm4; kxnorw %%k1, %%k1, %%k1\n"
      "vmovdqu32 %%zmm4, 3(%0)%{%%k1%}; vpcompressd %%zmm4, 128(%0)%{%%k1%}\n"
      "vpmovdb %%zmm4, 200(%0); vextracti32x4 $1, %%zmm4, 64(%0); kmovw %%k1, 240(%0)\n"
      "vpxor %%xmm5, %%xmm5, %%xmm5; vpscatterdd %%zmm4, 8(%0,%%zmm5,4)%{%%k1%}; vzeroupper\n"
      :
      : "r"(to)
      : "xmm4", "xmm5", "memory");
}

void done(void) { __asm__ volatile(""); }

int main(void) {
  __builtin_cpu_init();
  has_avx = __builtin_cpu_supports("avx2");
  has_avx512 = __builtin_cpu_supports("avx512f");
  scalar(area);
  floating(area);
  environments(area);
  if (has_avx) avx(area);
  if (has_avx512) avx512(area);
  done();
  return 0;
}
