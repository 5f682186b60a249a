// build: -O1 -pthread -D_GNU_SOURCE
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "tasks.h"

// Memory that one process stores to and another one only reads, most of it long after it was stored
// and when nobody has it mapped to write any more. Both compute, and seldom make calls.
enum { kPage = 4096, kPages = 64, kRounds = 24 };

struct Turns {
  sem_t readers, writers;
};

static unsigned sum_of(const volatile char* at, size_t bytes) {
  unsigned sum = 0;
  for (size_t i = 0; i < bytes; i += 97) sum = sum * 31 + (unsigned char)at[i];
  return sum;
}

int main(void) {
  const int file = open("read_by_others", O_RDWR | O_CREAT | O_TRUNC, 0600);
  const int memory = memfd_create("read by others", 0);
  CHECK(file >= 0 && ftruncate(file, kPages * kPage) == 0);
  CHECK(memory >= 0 && ftruncate(memory, kPages * kPage) == 0);
  struct Turns* turns =
      mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  // By name, by descriptor, and by descent; made writable later by one of the two.
  const char* views[3];
  views[0] = mmap(NULL, kPages * kPage, PROT_READ, MAP_SHARED, file, 0);
  views[1] = mmap(NULL, kPages * kPage, PROT_READ, MAP_SHARED, memory, 0);
  views[2] = mmap(NULL, kPages * kPage, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(turns != MAP_FAILED && views[0] != MAP_FAILED && views[1] != MAP_FAILED &&
        views[2] != MAP_FAILED);
  CHECK(sem_init(&turns->readers, 1, 0) == 0 && sem_init(&turns->writers, 1, 0) == 0);
  const pid_t writer = forked();
  if (writer == 0) {
    for (int i = 0; i < 3; i++) {
      CHECK(mprotect((void*)views[i], kPages * kPage, PROT_READ | PROT_WRITE) == 0);
    }
    for (int round = 0; round < kRounds; round++) {
      for (int i = 0; i < 3; i++) {
        char* page = (char*)views[i] + (round * 7 + i) % kPages * kPage;
        for (int at = 0; at < kPage; at++) page[at] = (char)(round * 3 + i + at);
      }
      const uint64_t value = computed(1500000);
      ((char*)views[0])[8] = (char)value;
      // Anew, as it is by now.
      char* again = mmap(NULL, kPage, PROT_READ, MAP_SHARED, file, 0);
      CHECK(again != MAP_FAILED && again[8] == (char)value && munmap(again, kPage) == 0);
      if (round == kRounds - 1) {
        for (int i = 0; i < 3; i++) CHECK(munmap((void*)views[i], kPages * kPage) == 0);
      }
      sem_post(&turns->readers);
      while (sem_wait(&turns->writers) != 0) CHECK(errno == EINTR);
    }
    _exit(0);
  }
  unsigned sum = 0;
  for (int round = 0; round < kRounds; round++) {
    while (sem_wait(&turns->readers) != 0) CHECK(errno == EINTR);
    sum = sum * 7 + (unsigned char)views[round % 3][8];
    sum += (unsigned)computed(500000);
    sem_post(&turns->writers);
  }
  CHECK(status_of(writer) == 0);
  (void)computed(20000000);
  for (int i = 0; i < 3; i++) sum = sum * 5 + sum_of(views[i], kPages * kPage);
  printf("%u\n", sum);
  CHECK(unlink("read_by_others") == 0);
  return passed();
}
