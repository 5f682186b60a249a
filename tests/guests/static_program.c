// build: -O2 -static
#include "guest.h"

int main(void) {
  CHECK(strlen(getenv("PATH")) > 0);
  return passed();
}
