// build: -O1 -D_GNU_SOURCE
#include <sys/ipc.h>
#include <sys/shm.h>

#include "tasks.h"

// A System V segment that two processes attach each by itself, at different addresses and times;
// one of them after an execve, by its key.
enum { kBytes = 3 * 4096 };

static int child_by_key(key_t key) {
  int memory = shmget(key, kBytes, 0600);
  CHECK(memory >= 0);
  volatile int* at = shmat(memory, (void*)0x600000000000, 0);
  CHECK(at == (void*)0x600000000000 && at[1] == 111);
  for (int i = 0; i < 100; i++) {
    while (at[0] != 2 * i) sched_yield();
    at[100 + i] = at[50] * i;
    at[0] = 2 * i + 1;
  }
  CHECK(shmdt((void*)at) == 0);
  return 7;
}

int main(int count, char** arguments) {
  if (count > 1) return child_by_key((key_t)strtol(arguments[1], NULL, 16));
  key_t key = (key_t)(0x5ac00000 + getpid());
  int memory = shmget(key, kBytes, IPC_CREAT | IPC_EXCL | 0600);
  if (memory < 0) return skipped();
  volatile int* first = shmat(memory, NULL, 0);
  first[0] = -1, first[1] = 111, first[50] = 3;
  CHECK(shmdt((void*)first) == 0);
  pid_t child = forked();
  if (child == 0) {
    char text[16];
    snprintf(text, sizeof text, "%x", key);
    execl("/proc/self/exe", "guest", text, NULL);
    _exit(100);
  }
  volatile int* at = shmat(memory, NULL, 0);
  volatile int* again = shmat(memory, NULL, SHM_RDONLY);
  CHECK(at[1] == 111 && again != at);
  for (int i = 0; i < 100; i++) {
    at[50] = i + 3;
    at[0] = 2 * i;
    while (at[0] != 2 * i + 1) sched_yield();
    CHECK(again[100 + i] == (i + 3) * i);
  }
  CHECK(status_of(child) == 7 && shmctl(memory, IPC_RMID, NULL) == 0);
  return passed();
}
