// build: -O1 -pthread -D_GNU_SOURCE
// varies: how far a thread counts until a disk or another process has answered
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "tasks.h"

// A thread looks at what another one's call is about to store: a large read of a file that has to
// come from the disk, and the offset of a splice that waits for another process. It gives up in the
// end, so that a replay that never stores it ends as well.
enum { kReads = 4, kSplices = 3, kSize = 2 << 20 };
static const long kMostLooks = 400000000;

static char buffer[kSize];
static volatile loff_t offset;
static atomic_int turn;
static int file, ends[2], copy;

static void* reads(void* argument) {
  for (int i = 1; i <= kReads; i++) {
    while (turn != i) sched_yield();
    CHECK(pread(file, buffer, kSize, 0) == kSize);
    turn = -i;
  }
  for (int i = kReads + 1; i <= kReads + kSplices; i++) {
    while (turn != i) sched_yield();
    CHECK(splice(ends[0], NULL, copy, (loff_t*)&offset, 100, 0) == 5);
    turn = -i;
  }
  return argument;
}

static long looks_at(volatile const char* byte, char is) {
  long looks = 0;
  while (*byte == is && looks < kMostLooks) looks++;
  CHECK(looks < kMostLooks);
  return looks;
}

int main(void) {
  memset(buffer, 'f', kSize);
  file = open("large", O_RDWR | O_CREAT | O_TRUNC, 0600);
  copy = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0 && copy >= 0 && write(file, buffer, kSize) == kSize && pipe(ends) == 0);
  pthread_t thread = started(reads, NULL);
  long looks = 0;
  for (int i = 1; i <= kReads; i++) {
    memset(buffer, 0, kSize);
    CHECK(fsync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0);
    turn = i;
    looks += looks_at(&buffer[4096 * i], 0);
    looks += looks_at(&buffer[kSize - 4096 * i], 0);
    while (turn == i) sched_yield();
  }
  for (int i = kReads + 1; i <= kReads + kSplices; i++) {
    offset = 0;
    pid_t child = fork();
    if (child == 0) {
      usleep(2000);
      _exit(write(ends[1], "12345", 5) != 5);
    }
    turn = i;
    looks += looks_at((volatile const char*)&offset, 0);
    while (turn == i) sched_yield();
    int status = 0;
    CHECK(offset == 5 && waitpid(child, &status, 0) == child && status == 0);
  }
  joined(thread);
  printf("%ld looks\n", looks);
  return passed();
}
