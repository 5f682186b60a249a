// build: -O1 -D_GNU_SOURCE
// args: 150
// status: 5
// varies: how often it goes round depends on the time
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tasks.h"

// Changes its memory, its mappings and what a file shows for so many milliseconds, with a timer's
// signals between: for recordings of which only the end is kept.
enum { kPages = 64, kPage = 4096 };

static volatile sig_atomic_t ticks;
static void on_tick(int number) { ticks += number == SIGALRM; }

static uint32_t sum_of(const unsigned char* bytes, size_t count) {
  uint32_t sum = 1;
  for (size_t i = 0; i < count; i++) sum = sum * 31 + bytes[i];
  return sum;
}

int main(int argc, char** argv) {
  CHECK(argc == 2);
  const int64_t end_ns = now_ns() + atol(argv[1]) * 1000000;
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval every = {{0, 7000}, {0, 7000}};
  CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
  unsigned char* memory = malloc(kPages * kPage);
  uint32_t sums[kPages] = {0};
  int numbers = open("/dev/urandom", O_RDONLY);
  int self = open("/proc/self/exe", O_RDONLY);
  CHECK(memory != NULL && numbers >= 0 && self >= 0);
  unsigned char* mapped = NULL;
  for (int round = 0; now_ns() < end_ns; round++) {
    const int page = round % kPages;
    CHECK(sums[page] == 0 || sums[page] == sum_of(memory + page * kPage, kPage));
    CHECK(read(numbers, memory + page * kPage, kPage) == kPage);
    sums[page] = sum_of(memory + page * kPage, kPage);
    if (round % 10 == 0) {
      if (mapped != NULL) CHECK(munmap(mapped, kPage) == 0);
      mapped = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, self, 0);
      CHECK(mapped != MAP_FAILED && memcmp(mapped, "\177ELF", 4) == 0);
      mapped[round % kPage] ^= 1;
    }
    if (round % 25 == 0) {
      void* fresh =
          mmap(NULL, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      CHECK(fresh != MAP_FAILED);
      memset(fresh, round, kPage);
      CHECK(madvise(fresh, kPage, MADV_DONTNEED) == 0 && *(char*)fresh == 0);
      CHECK(munmap(fresh, 3 * kPage) == 0);
      printf("round %d\n", round);
      fflush(stdout);
    }
  }
  CHECK(ticks > 0);
  passed();
  return 5;
}
