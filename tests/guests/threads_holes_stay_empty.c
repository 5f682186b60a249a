// build: -O1 -D_GNU_SOURCE -pthread
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "tasks.h"

// Unmaps memory of several sizes, makes calls of all kinds for which a recorder may want memory of
// its own, and expects that nothing is where nothing was mapped: mincore and a store both say so.
enum { kPage = 4096, kHoles = 5, kWaiting = 3, kRounds = 1500, kLarge = 1 << 20 };

static const size_t sizes[kHoles] = {kPage, 16 * kPage, 1 << 20, 64 << 20, 1600ul << 20};
static char* holes[kHoles];
static int go[2], data[2];
static atomic_int done;
static sigjmp_buf behind;

static void on_fault(int number) { siglongjmp(behind, number); }

static void* waiting(void* argument) {
  static char large[kWaiting][kLarge];
  const intptr_t which = (intptr_t)argument;
  char* buffer = large[which];
  CHECK(read(go[0], buffer, 1) == 1);
  for (int i = 0; i < 50; i++) CHECK(read(data[0], buffer, 64) > 0);
  // Too much for memory that is made for small calls.
  CHECK(read(data[0], buffer, kLarge >> which) > 0);
  done++;
  return NULL;
}

static int is_empty(char* page) {
  unsigned char in_memory;
  if (mincore(page, kPage, &in_memory) != -1 || errno != ENOMEM) return 0;
  const int number = sigsetjmp(behind, 1);
  if (number == 0) *(volatile char*)page = 1;
  return number == SIGSEGV;
}

static void look(const char* when) {
  for (int i = 0; i < kHoles; i++) {
    // All of the small ones, and pieces of the large.
    const size_t step = sizes[i] <= 1 << 20 ? kPage : sizes[i] / 64;
    for (size_t at = 0; at < sizes[i]; at += step) {
      if (is_empty(holes[i] + at)) continue;
      printf("%s: there is something in hole %d, at %zu\n", when, i, at);
      exit(99);
    }
  }
}

static void often(int file) {
  char bytes[64];
  struct timespec now;
  for (int i = 0; i < kRounds; i++) {
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    CHECK(pread(file, bytes, sizeof bytes, i % 1000) == sizeof bytes);
    CHECK(lseek(file, 0, SEEK_SET) == 0 && read(file, bytes, sizeof bytes) == sizeof bytes);
  }
}

int main(void) {
  static char contents[kPage];
  write_file("contents", contents, sizeof contents);
  const int file = open("contents", O_RDONLY);
  CHECK(file >= 0 && pipe(go) == 0 && pipe(data) == 0);
  CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
  pthread_t threads[kWaiting];
  for (int i = 0; i < kWaiting; i++) threads[i] = started(waiting, (void*)(intptr_t)i);
  sleep_ms(20);
  for (int i = 0; i < kHoles; i++) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    holes[i] = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(holes[i] != MAP_FAILED);
    holes[i][0] = 1;
  }
  for (int i = 0; i < kHoles; i++) CHECK(munmap(holes[i], sizes[i]) == 0);
  look("at first");
  often(file);
  look("after calls that are made often");
  CHECK(write(go[1], "abc", kWaiting) == kWaiting);
  for (int i = 0; done < kWaiting; i++) {
    CHECK(write(data[1], "wake", 4) == 4);
    if (i % 4 == 0) sleep_ms(1);
    if (i == 60) look("while others wait");
  }
  for (int i = 0; i < kWaiting; i++) joined(threads[i]);
  return passed();
}
