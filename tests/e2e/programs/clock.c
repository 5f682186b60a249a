// build: -g -O0 -D_GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

// Reads the clock, and a file, so often that a recorder has it done without stops.
static long sum;

static void inner(int round, int file) {
  struct timespec now;
  char bytes[16] = {0};
  clock_gettime(CLOCK_MONOTONIC, &now);
  sum += pread(file, bytes, sizeof bytes, round % 64);
  sum += now.tv_nsec;
}

static void outer(int rounds, int file) {
  for (int round = 0; round < rounds; round++) inner(round, file);
}

int main(void) {
  int file = open("/proc/self/exe", O_RDONLY);
  outer(2000, file);
  printf("%d\n", sum != 0);
  return 0;
}
