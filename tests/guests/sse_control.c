// build: -O1
#include <xmmintrin.h>

#include "guest.h"

int main(void) {
  _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
  volatile float tiny = 1e-38f;
  volatile float result = tiny * 0.1f;
  CHECK(result == 0.0f);
  CHECK(getppid() != 0);
  CHECK(_MM_GET_FLUSH_ZERO_MODE() == _MM_FLUSH_ZERO_ON);
  _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_OFF);
  result = tiny * 0.1f;
  CHECK(result != 0.0f);
  return passed();
}
