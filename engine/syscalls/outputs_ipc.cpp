// Outputs of System V IPC calls (ipc/sem.c, ipc/shm.c, ipc/msg.c).

#include <algorithm>

#include <fmt/format.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "engine/syscalls/walk.h"

namespace rchk::syscalls {
namespace {

constexpr int kIpc64 = 0x100;  // IPC_64: accepted and ignored on x86-64 (ipc/util.c)
// SEMMSL, include/uapi/linux/sem.h: the size of a set is nowhere in the call. A system may
// allow more; a guest's buffer can still not be smaller than what is stored.
constexpr uint64_t kMaxSemaphores = 32000;

#ifndef SHM_STAT_ANY
constexpr int kShmStatAny = 15;
#else
constexpr int kShmStatAny = SHM_STAT_ANY;
#endif
constexpr int kMsgStatAny = 13;
constexpr int kSemStatAny = 20;

void stored(Walk& walk, size_t index, uint64_t bytes) {
  if (walk.may_have_stored()) walk.wrote(walk.pointer(index), bytes);
}

}  // namespace

void semctl_outputs(Walk& walk) {
  switch (static_cast<int>(walk.argument(2)) & ~kIpc64) {
    case IPC_INFO:
    case SEM_INFO:
      return stored(walk, 3, sizeof(seminfo));
    case IPC_STAT:
    case SEM_STAT:
    case kSemStatAny:
      return stored(walk, 3, sizeof(semid_ds));
    case GETALL:
      return stored(walk, 3, kMaxSemaphores * sizeof(uint16_t));
    case IPC_RMID:
    case IPC_SET:
    case GETPID:
    case GETVAL:
    case GETNCNT:
    case GETZCNT:
    case SETVAL:
    case SETALL:
      return;
    default:
      if (walk.succeeded()) walk.doubt("semctl command");
  }
}

void shmctl_outputs(Walk& walk) {
  switch (static_cast<int>(walk.argument(1)) & ~kIpc64) {
    case IPC_INFO:
      return stored(walk, 2, sizeof(shminfo));
    case SHM_INFO:
      return stored(walk, 2, sizeof(shm_info));
    case IPC_STAT:
    case SHM_STAT:
    case kShmStatAny:
      return stored(walk, 2, sizeof(shmid_ds));
    case IPC_RMID:
    case IPC_SET:
    case SHM_LOCK:
    case SHM_UNLOCK:
      return;
    default:
      if (walk.succeeded()) walk.doubt("shmctl command");
  }
}

void msgctl_outputs(Walk& walk) {
  switch (static_cast<int>(walk.argument(1)) & ~kIpc64) {
    case IPC_INFO:
    case MSG_INFO:
      return stored(walk, 2, sizeof(msginfo));
    case IPC_STAT:
    case MSG_STAT:
    case kMsgStatAny:
      return stored(walk, 2, sizeof(msqid_ds));
    case IPC_RMID:
    case IPC_SET:
      return;
    default:
      if (walk.succeeded()) walk.doubt("msgctl command");
  }
}

// struct msgbuf: the type, a long, then as many bytes as the result says.
void msgrcv_outputs(Walk& walk) {
  constexpr uint64_t kTypeBytes = 8;
  if (!walk.may_have_stored()) return;
  const uint64_t room = std::min<uint64_t>(walk.argument(2), 0x7ffff000);
  const uint64_t bytes = walk.succeeded() ? static_cast<uint64_t>(walk.result()) : room;
  walk.filled(walk.pointer(1), kTypeBytes + std::min(bytes, room), kTypeBytes + room);
}

}  // namespace rchk::syscalls
