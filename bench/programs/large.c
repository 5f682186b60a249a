// Owns MEGABYTES of memory, and dirties 1,000 of its pages between one system call and the next,
// ROUNDS times: large MEGABYTES ROUNDS.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { kPageBytes = 4096, kDirtied = 1000 };

int main(int argc, char** argv) {
  const size_t pages = (argc > 1 ? strtoull(argv[1], NULL, 10) : 64) * (1 << 20) / kPageBytes;
  const uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;
  unsigned char* memory = aligned_alloc(kPageBytes, pages * kPageBytes);
  if (memory == NULL) return 1;
  for (size_t page = 0; page < pages; ++page) memory[page * kPageBytes + page % kPageBytes] = 1;
  const struct timespec pause = {0, 300000000};
  for (uint64_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < kDirtied; ++i) {
      memory[(i * 2654435761u + round) % pages * kPageBytes + round % kPageBytes] += 1;
    }
    nanosleep(&pause, NULL);
  }
  printf("%d\n", memory[0]);
  return 0;
}
