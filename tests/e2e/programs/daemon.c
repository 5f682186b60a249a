// build: -O0 -no-pie
// A process that outlives its parent, as a daemon does.
#include <time.h>
#include <unistd.h>

int result;

void wait_ms(int ms) {
  struct timespec time = {0, ms * 1000000L};
  nanosleep(&time, NULL);
}

void work(void) {
  for (int i = 1; i <= 3; ++i) {
    result += i;
    wait_ms(10);  // mark: work
  }
}

int main(void) {
  if (fork() != 0) return 0;
  wait_ms(100);  // mark: begin
  work();
  return 0;  // mark: return
}
