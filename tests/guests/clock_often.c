// build: -O1 -D_GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tasks.h"

// Reads the clock so often that the recorder has it read without stops, in all ways that there are.
enum { kRounds = 1500 };

static void all_forms(int64_t* last) {
  struct timespec now, day, coarse;
  struct timeval of_day;
  struct timezone zone;
  time_t stored = 0;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  const int64_t ns = now.tv_sec * 1000000000LL + now.tv_nsec;
  CHECK(ns >= *last);
  *last = ns;
  CHECK(clock_gettime(CLOCK_REALTIME, &day) == 0 && day.tv_sec > 1700000000);
  CHECK(clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse) == 0 && coarse.tv_sec <= now.tv_sec);
  CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &coarse) == 0);
  CHECK(clock_gettime(12345, &coarse) == -1 && errno == EINVAL);
  CHECK(gettimeofday(&of_day, NULL) == 0 && of_day.tv_sec >= day.tv_sec);
  CHECK(gettimeofday(&of_day, &zone) == 0 && of_day.tv_usec < 1000000);
  CHECK(gettimeofday(NULL, NULL) == 0);
  CHECK(time(NULL) + 1 >= day.tv_sec);
  const time_t seconds = time(&stored);
  CHECK(seconds == stored && seconds + 1 >= day.tv_sec);
}

int main(void) {
  int64_t last = 0;
  for (int i = 0; i < kRounds; i++) all_forms(&last);
  // Into memory of all kinds: on the edge of a page, of a file, of others.
  char* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED && shared != MAP_FAILED);
  int64_t sum = 0;
  for (int i = 0; i < 300; i++) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, (struct timespec*)(pages + 4088)) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, (struct timespec*)(shared + i)) == 0);
    memcpy(&now, pages + 4088, sizeof now);
    sum += now.tv_nsec;
    memcpy(&now, shared + i, sizeof now);
    sum += now.tv_nsec;
  }
  CHECK(sum > 0);
  // The call itself, with numbers left in registers.
  for (int i = 0; i < 300; i++) {
    struct timespec now;
    CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0);
    CHECK(now.tv_sec * 1000000000LL + now.tv_nsec >= last);
    CHECK(now_ns() >= last);
  }
  return passed();
}
