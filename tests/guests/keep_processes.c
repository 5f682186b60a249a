// build: -O1 -D_GNU_SOURCE
// args: 150
// status: 4
// varies: how often it goes round depends on the time
#include <sys/mman.h>

#include "tasks.h"

// A parent and two children that hand a token round for so many milliseconds, each with memory of
// its own, and all with anonymous memory that they share, unless they are to stay apart; other
// children come and go.
struct Shared {
  uint64_t turns;
  uint64_t by[3];
};

static struct Shared* shared;
static int apart;
static int pipes[3][2];

// Takes the token, and gives it on. False at its end.
static int take_turn(int self, uint64_t* mine) {
  char token;
  if (read(pipes[self][0], &token, 1) != 1) return 0;
  CHECK(shared->by[self] == *mine);
  shared->by[self] = ++*mine;
  shared->turns++;
  CHECK(apart || shared->turns == shared->by[0] + shared->by[1] + shared->by[2]);
  return token == 'g';
}

static void give(int to, char token) { CHECK(write(pipes[to][1], &token, 1) == 1); }

static void child(int self) {
  uint64_t mine = 0;
  unsigned char* own = malloc(16 * 4096);
  for (int goes_on = 1; goes_on;) {
    goes_on = take_turn(self, &mine);
    memset(own + mine % 16 * 4096, (int)mine, 4096);
    give((self + 1) % 3, goes_on ? 'g' : 's');
  }
  CHECK(own[mine % 16 * 4096] == (unsigned char)mine);
  _exit(10 + self);
}

int main(int argc, char** argv) {
  CHECK(argc == 2 || argc == 3);
  apart = argc == 3;
  const int64_t end_ns = now_ns() + atol(argv[1]) * 1000000;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                (apart ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  for (int i = 0; i < 3; i++) CHECK(pipe(pipes[i]) == 0);
  pid_t children[3];
  for (int i = 1; i < 3; i++) {
    children[i] = forked();
    if (children[i] == 0) child(i);
  }
  uint64_t mine = 0;
  give(1, 'g');
  for (int round = 0;; round++) {
    const int goes_on = take_turn(0, &mine);
    CHECK(goes_on);
    if (round % 40 == 0) {
      printf("round %d\n", round);
      pid_t guest = forked();
      if (guest == 0) {
        if (round % 80 == 0) execl("/bin/true", "true", NULL);
        _exit(round % 80 == 0);
      }
      CHECK(status_of(guest) == 0);
    }
    if (now_ns() >= end_ns) break;
    give(1, 'g');
  }
  give(1, 's');
  for (int i = 1; i < 3; i++) CHECK(status_of(children[i]) == 10 + i);
  CHECK(shared->by[0] == mine);
  CHECK(apart || (shared->by[1] >= mine && shared->by[2] >= mine));
  passed();
  return 4;
}
