// build: -O0 -no-pie
// A parent and its child, each with something to do of its own.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int shared_past;
int result;

void child_work(void) {
  for (int i = 1; i <= 5; ++i) result += i;  // mark: child
  _exit(result);                             // mark: child_end
}

void parent_work(void) {
  for (int i = 1; i <= 4; ++i) result += 100;  // mark: parent
}

int main(void) {
  shared_past = 7;  // mark: past
  pid_t child = fork();
  if (child == 0) child_work();
  parent_work();
  int status = 0;
  waitpid(child, &status, 0);
  result += WEXITSTATUS(status);  // mark: waited
  return result == 415 ? 0 : 1;   // mark: return
}
