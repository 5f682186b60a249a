// build: -O1
// args: one "two words" "" --flag -o --
#include "guest.h"

int main(int argc, char** argv) {
  CHECK(argc == 7 && strcmp(argv[2], "two words") == 0 && argv[3][0] == 0);
  CHECK(strcmp(argv[5], "-o") == 0 && strcmp(argv[6], "--") == 0);
  return passed();
}
