// build: -O0 -no-pie
// A child of vfork that runs this program anew, and one that stores into its parent's memory.
#include <sys/wait.h>
#include <unistd.h>

int generation;
int result;

void second(void) {
  generation = 2;  // mark: second
}

int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);  // mark: waited
}

int main(int argc, char** argv) {
  if (argc > 1) {
    second();
    return 3;  // mark: child_return
  }
  generation = 1;         // mark: first
  pid_t child = vfork();  // mark: vfork
  if (child == 0) {
    execl("/proc/self/exe", argv[0], "2", NULL);  // mark: exec
    _exit(1);
  }
  result += wait_for(child);
  child = vfork();
  if (child == 0) {
    result += 10;   // mark: borrowed
    _exit(result);  // mark: borrowed_end
  }
  result += 100;                                          // mark: again
  return wait_for(child) == 13 && result == 113 ? 0 : 1;  // mark: return
}
