// build: -O1
#include <elf.h>
#include <sys/auxv.h>

#include "guest.h"

extern char** environ;

// The recorder leaves no trace in the environment or the auxiliary vector but one: it may hide
// the vDSO, whose calls would escape the log.
int main(int argc, char** argv) {
  CHECK(argc == 1 && argv[1] == NULL);
  for (char** each = environ; *each != NULL; ++each) {
    CHECK(strncmp(*each, "LD_PRELOAD=", 11) != 0);
    CHECK(strncmp(*each, "LD_AUDIT=", 9) != 0);
  }
  CHECK(getauxval(AT_PAGESZ) == 4096);
  CHECK(getauxval(AT_ENTRY) != 0 && getauxval(AT_PHDR) != 0 && getauxval(AT_RANDOM) != 0);
  CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_SECURE) == 0);
  CHECK(strstr((const char*)getauxval(AT_EXECFN), "environment") != NULL);
  return passed();
}
