// build: -O1
#include "guest.h"

int main(void) {
  char* const arguments[] = {"x", NULL};
  CHECK(execv("/nowhere/at/all", arguments) == -1 && errno == ENOENT);
  write_file("text", "hello", 5);
  CHECK(execv("./text", arguments) == -1 && errno == EACCES);
  return passed();
}
