// build: -O0 -no-pie -pthread
// A process with two threads makes two children; the second one has a thread and a child as well.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

int result;
int in_thread;
int go[2];

void* thread(void* argument) {
  char byte;
  (void)!read(go[0], &byte, 1);
  in_thread = *(int*)argument;  // mark: thread
  return NULL;
}

void with_thread(int value) {
  pthread_t other;
  (void)!pipe(go);
  pthread_create(&other, NULL, thread, &value);
  (void)!write(go[1], "", 1);
  pthread_join(other, NULL);
}

int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

void child_work(int number) {
  result = number;  // mark: child
  if (number == 2) {
    with_thread(20);
    pid_t grandchild = fork();
    if (grandchild == 0) {
      result = 3;  // mark: grandchild
      _exit(result);
    }
    result += wait_for(grandchild);  // mark: parent_too
  }
  _exit(result);  // mark: child_end
}

int main(void) {
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = fork();
    if (children[i] == 0) child_work(i + 1);
  }
  with_thread(10);
  for (int i = 0; i < 2; ++i) result += wait_for(children[i]);
  return result == 6 ? 0 : 1;  // mark: return
}
