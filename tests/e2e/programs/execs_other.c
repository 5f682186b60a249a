// build: -O0
// Computes for a while, and runs another program: its code lies where this one's was.
#include <unistd.h>

volatile long sum;

int main(void) {
  for (long i = 0; i < 300000000; ++i) sum += i & 1;  // mark: first
  sum += 7;                                           // mark: computed
  execl("/bin/true", "true", NULL);                   // mark: exec
  return 1;
}
