// build: -O0 -no-pie
// Two processes that take turns with a counter that they share.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int* counter;

static void turn(int from, int to, int more) {
  char byte;
  for (int i = 0; i < 3; ++i) {
    if (read(from, &byte, 1) != 1) abort();
    *counter += more;
    if (write(to, "x", 1) != 1) abort();  // mark: added
  }
}

int main(void) {
  int to_child[2], to_parent[2];
  counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (counter == MAP_FAILED || pipe(to_child) != 0 || pipe(to_parent) != 0) abort();
  *counter = 100;
  pid_t child = fork();
  if (child == 0) {
    turn(to_child[0], to_parent[1], 10);
    _exit(*counter == 133);
  }
  if (write(to_parent[1], "x", 1) != 1) abort();
  turn(to_parent[0], to_child[1], 1);
  int status = 0;
  waitpid(child, &status, 0);
  return *counter == 133 ? 0 : 1;  // mark: return
}
