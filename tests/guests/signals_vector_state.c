// build: -O2 -D_GNU_SOURCE -mavx2
// needs: avx2
#include <immintrin.h>
#include <signal.h>
#include <sys/time.h>

#include "tasks.h"

// The handler destroys every vector register, the x87 stack and MXCSR; what it interrupts keeps
// its.
static volatile int ticks;

static void handler(int number) {
  (void)number;
  __asm__ volatile("vzeroall\n fninit\n vpcmpeqd %%ymm3, %%ymm3, %%ymm3" ::: "memory");
  _mm_setcsr(0x7f80);
  ticks++;
}

int main(void) {
  struct itimerval every = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
  signal(SIGALRM, handler);
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  while (ticks < 20) {
    __m256i sum = _mm256_set_epi32(8, 7, 6, 5, 4, 3, 2, 1), one = _mm256_set1_epi32(1);
    long double low = 0.5L;
    for (int i = 0; i < 100000; i++) {
      sum = _mm256_add_epi32(sum, one);
      __asm__ volatile("" : "+x"(sum), "+x"(one));
      __asm__ volatile("fld1\n faddp" : "+t"(low));
    }
    int results[8];
    _mm256_storeu_si256((__m256i*)results, sum);
    for (int i = 0; i < 8; i++) CHECK(results[i] == 100001 + i);
    CHECK(low == 100000.5L && _mm_getcsr() >> 7 == 0x3f);
  }
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  return passed();
}
