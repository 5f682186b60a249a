// build: -O1
// status: 42
#include "guest.h"

int main(void) {
  passed();
  return 42;
}
