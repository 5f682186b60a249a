// build: -O0 -no-pie
// Runs itself once more, as another program.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int generation;

void second(void) {
  generation = 2;  // mark: second
}

int main(int argc, char** argv) {
  if (argc > 1) {
    second();
    return 0;  // mark: return
  }
  generation = 1;                               // mark: first
  execl("/proc/self/exe", argv[0], "2", NULL);  // mark: exec
  return 1;
}
