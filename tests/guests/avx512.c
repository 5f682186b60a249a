// build: -O2 -mavx512f -mavx512bw -mavx512vl
// needs: avx512bw
#include <immintrin.h>

#include "guest.h"

// The upper sixteen registers and the masks live across system calls.
int main(void) {
  if (!__builtin_cpu_supports("avx512bw")) return skipped();
  __m512i sum = _mm512_set1_epi32(1);
  for (int i = 0; i < 50000; ++i) {
    __mmask16 mask = _mm512_cmpgt_epi32_mask(sum, _mm512_set1_epi32(i * 1000));
    sum = _mm512_mask_add_epi32(sum, mask, sum, _mm512_set1_epi32(i));
    sum = _mm512_rol_epi32(sum, 3);
  }
  register __m512i kept __asm__("zmm29") = sum;
  __asm__ volatile("" : "+v"(kept));
  uint64_t mask = 0x123456789abcdef, back;
  long id;
  __asm__ volatile("kmovq %2, %%k5\n\tsyscall\n\tkmovq %%k5, %1"
                   : "=a"(id), "=&r"(back)
                   : "r"(mask), "0"(39L), "v"(kept)
                   : "rcx", "r11", "memory", "k5");
  CHECK(id == getpid() && back == mask);
  uint32_t lanes[16], mixed = 0;
  _mm512_storeu_si512(lanes, kept);
  for (int i = 0; i < 16; ++i) mixed = mixed * 31 + lanes[i];
  printf("%08x ", mixed);
  return passed();
}
