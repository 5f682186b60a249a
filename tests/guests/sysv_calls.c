// build: -O1 -D_GNU_SOURCE
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "tasks.h"

// System V: what semctl, shmctl and msgctl report; undo at exit; timed waits.
union semun {
  int val;
  struct semid_ds* buf;
  unsigned short* array;
  struct seminfo* info;
};

int main(void) {
  int memory = shmget(IPC_PRIVATE, 12288, IPC_CREAT | 0600);
  int set = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600), queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  if (memory < 0 || set < 0 || queue < 0) return skipped();
  struct shmid_ds segment;
  struct shm_info segments;
  struct shminfo limits;
  char* at = shmat(memory, NULL, 0);
  CHECK(shmctl(memory, IPC_STAT, &segment) == 0 && segment.shm_segsz == 12288);
  CHECK(segment.shm_cpid == getpid() && segment.shm_nattch == 1);
  CHECK(shmctl(0, SHM_INFO, (void*)&segments) >= 0 && segments.used_ids > 0);
  CHECK(shmctl(0, IPC_INFO, (void*)&limits) >= 0 && limits.shmmni > 0);
  CHECK(shmctl(memory, IPC_RMID, NULL) == 0);
  strcpy(at + 8192, "third page");

  unsigned short values[3] = {5, 6, 7}, read_back[3] = {0};
  struct semid_ds status;
  struct seminfo info;
  CHECK(semctl(set, 0, SETALL, (union semun){.array = values}) == 0);
  CHECK(semctl(set, 0, GETALL, (union semun){.array = read_back}) == 0);
  CHECK(memcmp(values, read_back, sizeof values) == 0);
  CHECK(semctl(set, 0, IPC_STAT, (union semun){.buf = &status}) == 0 && status.sem_nsems == 3);
  CHECK(semctl(0, 0, SEM_INFO, (union semun){.info = &info}) >= 0 && info.semusz > 0);
  CHECK(semctl(set, 1, GETVAL) == 6 && semctl(set, 1, SETVAL, (union semun){.val = 9}) == 0);
  pid_t child = forked();
  if (child == 0) {
    struct sembuf take[2] = {{0, -5, SEM_UNDO}, {1, -4, SEM_UNDO}};
    CHECK(semop(set, take, 2) == 0 && semctl(set, 0, GETVAL) == 0);
    _exit(strcmp(at + 8192, "third page"));
  }
  CHECK(status_of(child) == 0 && semctl(set, 0, GETVAL) == 5 && semctl(set, 1, GETVAL) == 9);
  CHECK(semctl(set, 0, GETPID) == child);
  struct sembuf never = {2, -100, 0};
  struct timespec rest = {0, 5000000};
  CHECK(semtimedop(set, &never, 1, &rest) == -1 && errno == EAGAIN);
  CHECK(semctl(set, 0, IPC_RMID) == 0);

  struct {
    long kind;
    char text[8];
  } message = {4, "four"}, other = {5, "five!"};
  struct msqid_ds about;
  struct msginfo totals;
  CHECK(msgsnd(queue, &message, 5, 0) == 0 && msgsnd(queue, &other, 6, 0) == 0);
  CHECK(msgctl(queue, IPC_STAT, &about) == 0 && about.msg_qnum == 2 && about.msg_lspid == getpid());
  CHECK(msgctl(0, MSG_INFO, (void*)&totals) >= 0 && totals.msgpool > 0);
  memset(&message, 0, sizeof message);
  CHECK(msgrcv(queue, &message, 8, -4, 0) == 5 && strcmp(message.text, "four") == 0);
  CHECK(msgrcv(queue, &message, 2, 0, MSG_NOERROR) == 2 && message.kind == 5);
  CHECK(msgrcv(queue, &message, 8, 0, IPC_NOWAIT) == -1 && errno == ENOMSG);
  CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && shmdt(at) == 0);
  return passed();
}
