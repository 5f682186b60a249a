// build: -O1
// stdin: one\ntwo\nthree\n
#include "guest.h"

int main(void) {
  char line[64];
  int lines = 0;
  while (fgets(line, sizeof line, stdin) != NULL) {
    printf("%zu ", strlen(line));
    ++lines;
  }
  CHECK(lines == 3);
  return passed();
}
