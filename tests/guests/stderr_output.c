// build: -O1
#include "guest.h"

int main(void) {
  for (int i = 0; i < 5; ++i) {
    fprintf(stderr, "error %d\n", i);
    printf("line %d\n", i);
    fflush(stdout);
  }
  return passed();
}
