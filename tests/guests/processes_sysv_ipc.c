// build: -O1 -D_GNU_SOURCE
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "tasks.h"

// System V shared memory, semaphores and messages between two processes.
struct Message {
  long kind;
  char text[16];
};

static void change(int semaphores, int which, int by) {
  struct sembuf operation = {(unsigned short)which, (short)by, 0};
  while (semop(semaphores, &operation, 1) != 0) CHECK(errno == EINTR);
}

int main(void) {
  int memory = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
  int semaphores = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
  int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  if (memory < 0 || semaphores < 0 || queue < 0) return skipped();
  pid_t child = forked();
  volatile int* at = shmat(memory, NULL, 0);
  CHECK(at != (void*)-1);
  if (child == 0) {
    for (int i = 0; i < 50; i++) {
      change(semaphores, 0, -1);
      CHECK(at[i] == i * i);
      at[1000 + i] = -at[i];
      change(semaphores, 1, 1);
    }
    struct Message message = {2, "from the child"};
    CHECK(msgsnd(queue, &message, sizeof message.text, 0) == 0);
    _exit(0);
  }
  for (int i = 0; i < 50; i++) {
    at[i] = i * i;
    change(semaphores, 0, 1);
    change(semaphores, 1, -1);
    CHECK(at[1000 + i] == -i * i);
  }
  struct Message message = {0};
  CHECK(msgrcv(queue, &message, sizeof message.text, 2, 0) == sizeof message.text);
  CHECK(strcmp(message.text, "from the child") == 0 && status_of(child) == 0);
  CHECK(shmctl(memory, IPC_RMID, NULL) == 0 && semctl(semaphores, 0, IPC_RMID) == 0);
  CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && shmdt((void*)at) == 0);
  return passed();
}
