// build: -O2 -mavx2 -mfma
// needs: avx2
#include <immintrin.h>

#include "guest.h"

int main(void) {
  if (!__builtin_cpu_supports("avx2")) return skipped();
  __m256i sum = _mm256_setzero_si256(), step = _mm256_set_epi32(8, 7, 6, 5, 4, 3, 2, 1);
  __m256d real = _mm256_set1_pd(0.5);
  for (int i = 0; i < 100000; ++i) {
    sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(step, _mm256_set1_epi32(i)));
    sum = _mm256_permutevar8x32_epi32(sum, step);
    real = _mm256_fmadd_pd(real, _mm256_set1_pd(0.999), _mm256_set1_pd(0.001));
  }
  uint32_t lanes[8], mixed = 0;
  _mm256_storeu_si256((__m256i*)lanes, sum);
  for (int i = 0; i < 8; ++i) mixed = mixed * 31 + lanes[i];
  printf("%08x %.12f ", mixed, _mm256_cvtsd_f64(real));
  return passed();
}
