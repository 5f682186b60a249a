// build: -O0 -no-pie
// Its parent waits while a child of vfork computes.
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

int far[8192];
volatile long sum;
int failures;

int main(void) {
  for (int round = 0; round < 6; ++round) {
    errno = 0;
    pid_t child = vfork();
    if (child == 0) {
      for (long i = 0; i < 50000000; ++i) ++sum;
      _exit(7);
    }
    int status = 0;
    int failed = child <= 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7;
    failures += failed;
  }
  return failures;  // mark: return
}
