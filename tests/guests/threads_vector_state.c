// build: -O2 -pthread -D_GNU_SOURCE -mavx2
// needs: avx2
#include <immintrin.h>

#include "tasks.h"

// Each thread keeps its own values in vector registers, the x87 stack and MXCSR while it computes
// past its slice: nothing of another thread's may show up there.
static void* keep(void* argument) {
  int number = (int)(intptr_t)argument;
  __m256i value = _mm256_set1_epi32(number), sum = _mm256_setzero_si256();
  long double low = number;
  _mm_setcsr(0x1f80 | (number % 4) << 13);
  for (int i = 0; i < 4000000; i++) {
    sum = _mm256_add_epi32(sum, value);
    __asm__ volatile("" : "+x"(sum), "+x"(value));
    __asm__ volatile("fld1\n faddp" : "+t"(low));
  }
  int results[8];
  _mm256_storeu_si256((__m256i*)results, sum);
  for (int i = 0; i < 8; i++) CHECK(results[i] == 4000000 * number);
  CHECK(low == 4000000 + number && (_mm_getcsr() >> 13 & 3) == (unsigned)number % 4);
  return NULL;
}

int main(void) {
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; i++) threads[i] = started(keep, (void*)(i + 1));
  for (int i = 0; i < 4; i++) joined(threads[i]);
  return passed();
}
