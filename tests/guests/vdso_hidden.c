// build: -O1
// varies: recorded, there is no vDSO
#include <sys/auxv.h>

#include "guest.h"

int main(void) {
  printf("%s ", getauxval(AT_SYSINFO_EHDR) == 0 ? "hidden" : "shown");
  return passed();
}
