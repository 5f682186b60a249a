// build: -O0 -no-pie
// A child that computes for ever, and its parent that waits for it.
#include <sys/wait.h>
#include <unistd.h>

volatile long work;
int result;

int main(void) {
  result = 0;  // mark: begin
  result = 1;
  pid_t child = fork();
  if (child == 0) {
    for (;;) ++work;
  }
  int status;
  waitpid(child, &status, 0);
  result = 2;
  return 0;
}
