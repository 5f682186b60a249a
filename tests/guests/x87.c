// build: -O1 -lm
#include <fenv.h>
#include <math.h>

#include "guest.h"

int main(void) {
  long double sum = 0;
  for (int i = 1; i < 10000; ++i) sum += sinl(i) / i + sqrtl(i);
  CHECK(fesetround(FE_UPWARD) == 0);
  volatile double one = 1, three = 3;
  double up = one / three;
  long double long_up = (long double)one / three;
  CHECK(fesetround(FE_TONEAREST) == 0);
  printf("%.18Lf %.20f %.20Lf ", sum, up, long_up);
  CHECK(up > one / three);
  uint16_t control = 0x27f, back;  // double precision
  __asm__ volatile("fldcw %1; fnstcw %0" : "=m"(back) : "m"(control));
  CHECK(back == control);
  return passed();
}
