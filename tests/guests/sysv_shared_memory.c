// build: -O1
#include <sys/ipc.h>
#include <sys/shm.h>

#include "guest.h"

int main(void) {
  int id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
  if (id < 0) return skipped();
  int* memory = shmat(id, NULL, 0);
  CHECK(memory != (void*)-1);
  memory[100] = 5;
  int* again = shmat(id, NULL, 0);
  CHECK(again[100] == 5);
  again[2000] = 6;
  CHECK(memory[2000] == 6 && shmdt(memory) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
  CHECK(shmdt(again) == 0);
  return passed();
}
