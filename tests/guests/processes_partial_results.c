// build: -O1 -pthread -D_GNU_SOURCE
#include <sys/mman.h>
#include <sys/socket.h>

#include "tasks.h"

// A call that has stored a part of what it will into memory that processes share, and waits for the
// rest, while another process computes.
enum { kPart = 5000, kRounds = 4 };

typedef struct {
  char all[2 * kPart];
  atomic_int turn, done;
} Shared;

static void take_turns(Shared* shared, int count) {
  for (int i = 0; i < count; i++) {
    shared->turn = 1;
    while (shared->turn == 1) {
    }
    getppid();
  }
}

int main(void) {
  static char part[kPart];
  int stream[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0);
  Shared* shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  pid_t spinner = forked();
  if (spinner == 0) {
    while (!shared->done) {
      if (shared->turn == 1) shared->turn = 0;
    }
    _exit(0);
  }
  for (int round = 0; round < kRounds; round++) {
    pid_t receiver = forked();
    if (receiver == 0) {
      _exit(recv(stream[0], shared->all, sizeof shared->all, MSG_WAITALL) != sizeof shared->all);
    }
    take_turns(shared, 3);
    for (int i = 0; i < 2; i++) {
      memset(part, 'a' + 2 * round + i, kPart);
      CHECK(write(stream[1], part, kPart) == kPart);
      take_turns(shared, 3);
    }
    CHECK(status_of(receiver) == 0);
    CHECK(shared->all[0] == 'a' + 2 * round && shared->all[kPart] == 'b' + 2 * round);
  }
  shared->done = 1;
  CHECK(status_of(spinner) == 0);
  return passed();
}
